"""A whole answer, its trace too, as JSON values and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from korean_llm.answering.answer import Answer, Citation, Piece, Place, Step, Trace

Row = dict[str, Any]


def row_of(answer: Answer) -> Row:
    """Everything of an answer as JSON values; a piece is [text, number of its citation or None]."""
    pieces = [[piece.text, piece.citation.number if piece.citation else None] for piece in answer.pieces]
    return answer.as_dict() | {"pieces": pieces, "trace": asdict(answer.trace)}


def answer_of(row: Row) -> Answer:
    """The answer again. Raises KeyError, TypeError or ValueError where the row is not one that `row_of` made."""
    citations = {value["number"]: Citation(**value) for value in row["citations"]}
    made = {
        "pieces": tuple(Piece(text, citations.get(number)) for text, number in row["pieces"]),
        "citations": tuple(citations.values()),
        "nearest": tuple(Citation(**value) for value in row["nearest"]),
        "steps": tuple(Step(**value) for value in row["steps"]),
        "unsupported": tuple(row["unsupported"]),
        "trace": _trace(row["trace"]),
    }
    return Answer(**{name: value for name, value in row.items() if name != "text"} | made)


def as_json(answer: Answer) -> str:
    """`row_of` as text."""
    return json.dumps(row_of(answer), ensure_ascii=False)


def from_json(text: str) -> Answer:
    """`answer_of` the text of a row; raises as it does."""
    return answer_of(json.loads(text))


def _trace(value: Row) -> Trace:
    hits = tuple(Place(**hit) for hit in value["hits"])
    return Trace(**value | {"prompt": tuple(value["prompt"]), "hits": hits})
