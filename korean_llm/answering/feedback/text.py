"""Text as it may be written down: in NFC, without secrets, in one piece where it was streamed in bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from korean_llm.answering.answer import Answer, Piece
from korean_llm.answering.record import Row, row_of
from korean_llm.answering.secrets import without_secrets
from korean_llm.corpus.read import well_formed


def cleaned(text: str) -> str:
    """The text without secrets, in NFC, half characters replaced."""
    return without_secrets(well_formed(text))


def clean_row(answer: Answer) -> Row:
    """The answer with its trace as JSON values, every text cleaned."""
    row: Row = _each(row_of(whole(answer)))
    return row


def whole(answer: Answer) -> Answer:
    """The answer with neighboring pieces of text made one: a key that was streamed in bits is seen whole."""
    pieces: list[Piece] = []
    for piece in answer.pieces:
        if pieces and piece.citation is None and pieces[-1].citation is None:
            pieces[-1] = replace(pieces[-1], text=pieces[-1].text + piece.text)
        else:
            pieces.append(piece)
    return replace(answer, pieces=tuple(pieces))


def _each(value: Any) -> Any:
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, dict):
        return {name: _each(inner) for name, inner in value.items()}
    return [_each(inner) for inner in value] if isinstance(value, (list, tuple)) else value
