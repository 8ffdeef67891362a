"""A whole answer as JSON text and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from korean_llm.answering.answer import Answer, Citation, Piece, Place, Step, Trace


def as_json(answer: Answer) -> str:
    """Everything of an answer, its trace too."""
    return json.dumps(asdict(answer), ensure_ascii=False)


def from_json(text: str) -> Answer:
    """The answer again. Raises ValueError, KeyError or TypeError where the text is not one that `as_json` wrote."""
    value: dict[str, Any] = json.loads(text)
    made = {
        "pieces": tuple(_piece(piece) for piece in value["pieces"]),
        "citations": tuple(Citation(**citation) for citation in value["citations"]),
        "nearest": tuple(Citation(**citation) for citation in value["nearest"]),
        "steps": tuple(Step(**step) for step in value["steps"]),
        "trace": _trace(value["trace"]),
    }
    return Answer(**{**value, **made})


def _piece(value: dict[str, Any]) -> Piece:
    citation, step = value["citation"], value["step"]
    return Piece(value["text"], Citation(**citation) if citation else None, Step(**step) if step else None)


def _trace(value: dict[str, Any]) -> Trace:
    hits = tuple(Place(**hit) for hit in value["hits"])
    return Trace(**{**value, "prompt": tuple(value["prompt"]), "hits": hits})
