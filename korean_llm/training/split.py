"""Leave out what does not fit, check what the template makes of the rest, hold some of it out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from korean_llm import console
from korean_llm.chat import Chat
from korean_llm.errors import KoreanLLMError
from korean_llm.training.examples import Row

R = TypeVar("R", bound=Row)

_HOLDOUT = 0.05
_NAMED = 5


@dataclass(frozen=True)
class TooLong:
    """A row that was left out: its id, its place, and its tokens."""

    id: str
    place: str
    tokens: int


@dataclass(frozen=True)
class Split(Generic[R]):
    """Rows to train on and to measure with, and those that were too long."""

    train: list[R]
    holdout: list[R]
    too_long: list[TooLong]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are of each, for the manifest."""
        return {"examples": len(self.train), "held_out": len(self.holdout), "too_long": len(self.too_long)}


def split(rows: Sequence[R], chat: Chat, max_tokens: int, section: str) -> Split[R]:
    """Leave out, name and count what is longer than max_tokens; hold out 5 % by a hash of the id, at least one row.

    Raises KoreanLLMError where nothing is left, or where an answer would be trained without its end token.
    """
    fitting, too_long = fits(rows, chat, max_tokens, section)
    ranked = sorted(fitting, key=lambda row: hashlib.sha256(row.id.encode()).hexdigest())
    count = max(1, round(_HOLDOUT * len(ranked)))
    if len(ranked) <= count:
        raise KoreanLLMError(
            f"{section}.data: only {len(ranked)} of {len(rows)} rows fit into {max_tokens} tokens; raise"
            f" {section}.max_tokens or give more data."
        )
    return Split(ranked[count:], ranked[:count], too_long)


def fits(rows: Sequence[R], chat: Chat, max_tokens: int, section: str) -> tuple[list[R], list[TooLong]]:
    """The rows whose every conversation has at most max_tokens tokens, and the others.

    Raises KoreanLLMError where an answer would be trained without its end token.
    """
    fitting: list[R] = []
    too_long: list[TooLong] = []
    for row in console.progress(rows, f"{section}: reading examples", len(rows)):
        tokens = max(chat.measure(messages, row.place) for messages in row.conversations)
        if tokens <= max_tokens:
            fitting.append(row)
        else:
            too_long.append(TooLong(row.id, row.place, tokens))
    if too_long:
        named = ", ".join(f"{row.place} ({row.tokens:,} tokens)" for row in too_long[:_NAMED])
        more = f", and {len(too_long) - _NAMED} more" if len(too_long) > _NAMED else ""
        console.note(
            f"{section}: left out {len(too_long)} of {len(rows)} rows, longer than {max_tokens:,} tokens: {named}{more}"
        )
    return fitting, too_long
