"""Measure an index on questions with known right documents, and compare two configurations question by question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.measure.ranking import averages, judged, paired_difference
from korean_llm.retrieval.beir import Question
from korean_llm.retrieval.index import Index, checked_question
from korean_llm.retrieval.store import Options

SEARCHING = ("dense_weight", "fusion", "reranker", "rerank_weight", "expansion", "endpoint", "endpoint_model")
"""Options that may be changed without building an index again."""

METRIC = "ndcg@10"
_SHOWN_CHARS = 60


def configured(options: Options, changes: Sequence[str]) -> Options:
    """The options with changes such as "fusion=rrf" applied.

    Raises KoreanLLMError for a name that is not one of SEARCHING, or a value that it cannot have.
    """
    types = {field.name: field.type for field in fields(Options)}
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if name not in SEARCHING or not equals:
            raise KoreanLLMError(
                f"{change!r} is no option of a search; expected NAME=VALUE with one of {', '.join(SEARCHING)}."
            )
        values[name] = None if value == "none" and "None" in str(types[name]) else value
    try:
        adapter = TypeAdapter(Options)
        return adapter.validate_python({**vars(options), **values})
    except ValidationError as error:
        first = error.errors()[0]
        raise KoreanLLMError(f"{first['loc'][0]}={first['input']}: {first['msg'].lower()}.") from None


def ranked_documents(index: Index, question: str, options: Options) -> list[str]:
    """Ids of the documents found, best first; a document stands where its best passage stands."""
    numbers = index.ranked(checked_question(question), options).numbers
    return list(dict.fromkeys(index.place(int(number))[0] for number in numbers))


def measure(index: Index, questions: Sequence[Question], options: Options | None = None) -> list[dict[str, float]]:
    """recall@1, @5, @10, MRR and nDCG@10 of every question."""
    options = options or index.options
    return [
        judged(ranked_documents(index, question.text, options), question.relevant)
        for question in console.progress(questions, "asking questions")
    ]


def evaluate(index: Index, questions: Sequence[Question], options: Options) -> dict[str, Any]:
    """{"questions", "metrics": {name: {"mean", "interval"}}}: means with 95 % bootstrap intervals."""
    return {"questions": len(questions), "metrics": averages(measure(index, questions, options))}


def compare(
    questions: Sequence[Question],
    first: Callable[[], list[dict[str, float]]],
    second: Callable[[], list[dict[str, float]]],
) -> dict[str, Any]:
    """Two configurations on the same questions: metrics of each, paired differences, every question that differs."""
    ours, theirs = first(), second()
    differences = {name: difference(ours, theirs, name) for name in (ours[0] if ours else ())}
    rows = [
        {"id": question.id, "question": question.text, "first": a[METRIC], "second": b[METRIC]}
        for question, a, b in zip(questions, ours, theirs, strict=True)
        if a[METRIC] != b[METRIC]
    ]
    rows.sort(key=lambda row: row["first"] - row["second"])  # type: ignore[operator]
    return {
        "questions": len(questions),
        "first": averages(ours),
        "second": averages(theirs),
        "first_minus_second": differences,
        "differing": rows,
    }


def difference(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], name: str = METRIC, level: float = 0.95
) -> dict[str, Any]:
    """{"mean", "interval", "significant"} of a metric's paired difference."""
    mean, low, high = paired_difference([row[name] for row in ours], [row[name] for row in theirs], level)
    return {"mean": round(mean, 4), "interval": [round(low, 4), round(high, 4)], "significant": low > 0 or high < 0}


def print_metrics(title: str, metrics: Mapping[str, Any]) -> None:
    """A table of means and intervals."""
    rows = [(name, f"{row['mean']:.4f}", "{:.4f} – {:.4f}".format(*row["interval"])) for name, row in metrics.items()]
    console.print_table(title, ["metric", "mean", "95 % interval"], rows)


def print_comparison(report: Mapping[str, Any]) -> None:
    """Differences with intervals, then the questions that differ, worst for the first configuration first."""
    rows = [
        (
            name,
            f"{report['first'][name]['mean']:.4f}",
            f"{report['second'][name]['mean']:.4f}",
            f"{row['mean']:+.4f}",
            "{:+.4f} – {:+.4f}".format(*row["interval"]) + (" *" if row["significant"] else ""),
        )
        for name, row in report["first_minus_second"].items()
    ]
    console.print_table("* the interval excludes zero", ["metric", "first", "second", "difference", "95 %"], rows)
    differing = [
        (row["id"], row["question"][:_SHOWN_CHARS], f"{row['first']:.3f}", f"{row['second']:.3f}")
        for row in report["differing"]
    ]
    title = f"{len(differing)} of {report['questions']} questions differ in {METRIC}"
    console.print_table(title, ["id", "question", "first", "second"], differing)
