"""The verb of answers: calibrate."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from korean_llm import console
from korean_llm.cli_options import JsonOption, print_json
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Device, Machine


def add_verbs(app: typer.Typer) -> None:
    """Give the command line its verb of answers."""
    app.command()(calibrate)


def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Index folder, or the folder of a run with one.")],
    questions: Annotated[
        list[str] | None,
        typer.Option(
            "--questions",
            metavar="SET",
            help='Corpus of questions, or a .jsonl of {"question", "evidence"}; no evidence means: not answered here.',
        ),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="Where the encoder runs.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fit when an index says "not found", on questions that its documents do and do not answer.

    Example: `korean-llm calibrate runs/quickstart --questions answers-ko --questions questions-ko`
    """
    from korean_llm.answering.abstain import calibration_place
    from korean_llm.answering.calibrate import calibrate as fit
    from korean_llm.answering.library import open_index
    from korean_llm.retrieval import Index
    from korean_llm.retrieval.store import INDEX

    if not questions:
        raise KoreanLLMError("there is nothing to calibrate with; give --questions SET, for instance answers-ko.")
    rows = [row for name in questions for row in _rows(name)]
    machine = Machine(device)
    index = Index.open(folder, machine) if (folder / INDEX).is_file() else open_index(folder, machine)
    answered = [text for text, evidence in rows if evidence]
    report = fit(index, answered, [text for text, evidence in rows if not evidence])
    if as_json:
        print_json(report)
        return
    for half in ("fitted", "held_out"):
        part = report[half]
        sys.stdout.write(
            f"{half}: answers {part['answered']:.1%} of {part['answerable']} answerable questions,"
            f" refuses {part['refused']:.1%} of {part['unanswerable']} others\n"
        )
    console.note(f"the calibration is in {calibration_place(index)}")


def _rows(name: str) -> Iterator[tuple[str, str]]:
    """(question, evidence) of a corpus of questions, or of a file of rows."""
    from korean_llm.corpus.card import load_card
    from korean_llm.corpus.read import read_file, read_rows

    path = Path(name)
    if path.is_file():
        for place, row in read_file(path):
            yield _checked(row, place)
        return
    card = load_card(name)
    if card.model.kind != "questions":
        raise KoreanLLMError(f"{name!r} is a corpus of {card.model.kind}; expected one of questions.")
    for row in read_rows(card):
        yield row["question"], row["evidence"]


def _checked(row: dict[str, Any], place: str) -> tuple[str, str]:
    question, evidence = row.get("question"), row.get("evidence") or ""
    if not isinstance(question, str) or not question.strip() or not isinstance(evidence, str):
        raise KoreanLLMError(f"{place}: expected text in 'question' and 'evidence', found {question!r}, {evidence!r}.")
    return question, evidence
