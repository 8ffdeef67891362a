"""Answers as JSON values and back, and text as it may be written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from korean_llm.answering.answer import Answer, Citation, Piece, Place, Step, Trace
from korean_llm.answering.secrets import without_secrets
from korean_llm.corpus.read import well_formed

Row = dict[str, Any]


def cleaned(text: str) -> str:
    """The text without secrets, in NFC, half characters replaced."""
    return without_secrets(well_formed(text))


def row_of(answer: Answer, clean: Callable[[str], str] = str) -> Row:
    """The answer with its trace as JSON values; clean: what is done to every text.

    Neighboring pieces of text become one: a key that was streamed in bits is seen whole.
    """
    pieces: list[list[Any]] = []
    for piece in answer.pieces:
        number = piece.citation.number if piece.citation else None
        if pieces and number is None and pieces[-1][1] is None:
            pieces[-1][0] += piece.text
        else:
            pieces.append([piece.text, number])
    row: Row = _each(answer.as_dict() | {"pieces": pieces, "trace": asdict(answer.trace)}, clean)
    return row


def answer_of(row: Row) -> Answer:
    """The answer that `row_of` made the row of."""
    citations = {value["number"]: Citation(**value) for value in row["citations"]}
    trace = row["trace"]
    return Answer(
        **{name: row[name] for name in ("question", "mode", "found", "notice", "stopped", "understood", "kept_from")},
        pieces=tuple(Piece(text, citations.get(number)) for text, number in row["pieces"]),
        citations=tuple(citations.values()),
        nearest=tuple(Citation(**value) for value in row["nearest"]),
        steps=tuple(Step(**value) for value in row["steps"]),
        trace=Trace(**trace | {"prompt": tuple(trace["prompt"]), "hits": tuple(Place(**hit) for hit in trace["hits"])}),
    )


def _each(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _each(inner, clean) for name, inner in value.items()}
    return [_each(inner, clean) for inner in value] if isinstance(value, (list, tuple)) else value
