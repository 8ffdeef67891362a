"""The verbs of search: index, search, evaluate-search, tune-search."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from korean_llm import console
from korean_llm.cli_options import EndpointModelOption, JsonOption, print_json
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Device, Machine

if TYPE_CHECKING:
    from korean_llm.retrieval import Index
    from korean_llm.retrieval.beir import Question

IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="Index folder, or the folder of a run with one.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the encoder runs.")]
SetOption = Annotated[
    Path | None,
    typer.Option("--questions", metavar="SET", help="Question set in BEIR's layout; FOLDER or FOLDER/NAME."),
]
Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...", help="Files and folders: txt, md, html, pdf, docx, hwp, hwpx, csv, jsonl(.gz), parquet."
    ),
]


def add_verbs(app: typer.Typer) -> None:
    """Give the command line its search verbs."""
    app.command()(index)
    app.command()(search)
    app.command("evaluate-search")(evaluate_search)
    app.command("tune-search")(tune_search)


def index(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index; new, empty, or an index.")],
    files: Files = None,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", metavar="DIR", help="sentence-transformers folder; none: words only.")
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option("--dictionary", metavar="FILE", help="Your own terms, one a line, spaces allowed.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Analyse whole texts, not eojeol by eojeol; slower.")] = False,
    milvus: Annotated[
        str | None, typer.Option("--milvus", metavar="URI", help="Let this Milvus do the searches.")
    ] = None,
    delete: Annotated[list[str] | None, typer.Option("--delete", metavar="ID", help="Delete a document.")] = None,
    compact: Annotated[bool, typer.Option("--compact", help="Make one segment of all.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build again from the index's own documents.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 means all cores.")] = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make a search index of documents, or bring one up to date: known ids are replaced, new ones added.

    Examples: `korean-llm index law laws.jsonl --encoder e5`, `korean-llm index office ./문서`,
    `korean-llm index law changed.jsonl --delete law-17`
    """
    from korean_llm.retrieval import Index, Options
    from korean_llm.retrieval.dictionary import read_dictionary
    from korean_llm.retrieval.rebuild import rebuild as build_again
    from korean_llm.retrieval.store import INDEX

    machine = Machine(device, workers)
    if rebuild:
        found = build_again(folder, machine)
    elif (folder / INDEX).is_file():
        if encoder or dictionary or exact or milvus:
            raise KoreanLLMError(
                f"{folder} is an index already; --encoder, --dictionary, --exact and --milvus are for new ones."
            )
        found = Index.open(folder, machine)
    else:
        terms = read_dictionary(dictionary) if dictionary else ()
        options = Options(dictionary=terms, exact=exact, milvus=milvus)
        found = Index.build(files or [], folder, encoder=encoder, options=options, machine=machine)
        files = None
    if files:
        found.update(files, machine)
    if delete:
        found.delete(delete, machine)
    if compact:
        found.compact(machine)
    state = {"documents": found.state.num_documents, "passages": found.state.num_passages}
    state["segments"] = len(found.state.segments)
    if as_json:
        print_json({**state, "encoder": found.state.encoder})
    else:
        console.note(f"{folder}: " + ", ".join(f"{count:,} {name}" for name, count in state.items()))


def search(
    folder: IndexFolder,
    question: Annotated[str, typer.Argument(help="What to look for; - reads it from standard input.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Number of hits.")] = 5,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Search an index, or a run's; hits name document, character span and score.

    Examples: `korean-llm search runs/quickstart "도서관은 몇 시에 닫나요?"`,
    `korean-llm search law "과세 처분" -k 10 --json`
    """
    asked = sys.stdin.buffer.read().decode("utf-8", errors="replace") if question == "-" else question
    hits = _open(folder, device).search(asked, k=k)
    if as_json:
        print_json([hit._asdict() for hit in hits])
        return
    for hit in hits:
        sys.stdout.write(f"[{hit.rank}] {hit.title} — {hit.document_id} {hit.start}–{hit.end}, {hit.score:.3f}\n")
        sys.stdout.write(f"    {' '.join(hit.text.split())}\n")


def evaluate_search(
    folder: IndexFolder,
    questions: SetOption = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Search with this option changed.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", metavar="NAME=VALUE", help="Compare with this option changed.")
    ] = None,
    other: Annotated[Path | None, typer.Option("--other", metavar="INDEX", help="Compare with another index.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure recall@k, MRR and nDCG@10 with intervals; with --against or --other, two settings question by question.

    Examples: `korean-llm evaluate-search law --questions sets/law`,
    `korean-llm evaluate-search law --questions sets/law --against fusion=rrf --against dense_weight=0.5`
    """
    from korean_llm.retrieval import evaluate

    if questions is None:
        raise KoreanLLMError("there is nothing to measure with; give --questions SET, a set in BEIR's layout.")
    asked, found = _questions(questions), _open(folder, device)
    first = evaluate.configured(found.options, options or [])
    if not against and other is None:
        report = evaluate.evaluate(found, asked, first)
        if as_json:
            print_json(report)
        else:
            evaluate.print_metrics(f"{folder}, {report['questions']} questions", report["metrics"])
        return
    theirs = _open(other, device) if other else found
    second = evaluate.configured(theirs.options, against or [])
    report = evaluate.compare(
        asked, lambda: evaluate.measure(found, asked, first), lambda: evaluate.measure(theirs, asked, second)
    )
    if as_json:
        print_json(report)
    else:
        evaluate.print_comparison(report)


def tune_search(
    folder: IndexFolder,
    questions: SetOption = None,
    reranker: Annotated[
        Path | None, typer.Option("--reranker", metavar="DIR", help="Cross-encoder folder to try.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="OpenAI-compatible base URL: HyDE and multi-query are tried too.")
    ] = None,
    model: EndpointModelOption = None,
    count: Annotated[int, typer.Option("--count", min=10, help="Questions to make where no set is given.")] = 200,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Switch on the stages of a search that help on your questions for certain, and keep the table that says so.

    Without --questions, questions are made from the index's documents: by the language model at --endpoint, or of
    words of their sentences, which favours lexical search.

    Examples: `korean-llm tune-search law --questions sets/law --reranker bge-reranker`, `korean-llm tune-search law`
    """
    from korean_llm.retrieval.expand import language_model
    from korean_llm.retrieval.questions import from_corpus
    from korean_llm.retrieval.tune import TABLE, print_tuning, tune

    found = _open(folder, device)
    asked = _questions(questions) if questions else None
    if asked is None:
        asked = from_corpus(found, count, language_model(endpoint, model) if endpoint else None)
    table = tune(
        found, asked, reranker=reranker, endpoint=endpoint, model=model, made_from_corpus=questions is None
    )  # fmt: skip
    if as_json:
        print_json(table)
    else:
        print_tuning(table)
        console.note(f"the table is in {found.folder / TABLE}")


def _open(folder: Path, device: Device) -> Index:
    from korean_llm.answering.library import open_index
    from korean_llm.retrieval import Index
    from korean_llm.retrieval.store import INDEX

    if (folder / INDEX).is_file():
        return Index.open(folder, Machine(device))
    return open_index(folder, Machine(device))


def _questions(path: Path) -> list[Question]:
    from korean_llm.retrieval.beir import load_questions

    return load_questions(path) if path.is_dir() else load_questions(path.parent, path.name)
