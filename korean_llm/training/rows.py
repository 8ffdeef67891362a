"""Rows to tune by: read with their places, checked field by field, and every fault told before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from korean_llm.corpus.card import Card, Kind, load_card
from korean_llm.corpus.read import Row, raw_rows, well_formed
from korean_llm.errors import KoreanLLMError

Message = dict[str, str]
T = TypeVar("T")
Parse = Callable[[str, str, Row], T]
"""From a row's id, its place (corpus, file and line) and its fields."""

_MAX_PLACES = 5


class RowError(ValueError):
    """What is wrong with a row; the message begins with the field."""


def read_checked(
    section: str, names: list[str], kinds: tuple[Kind, ...], parse: Parse[T], limit: int | None = None
) -> list[T]:
    """All rows of the named corpora, parsed; at most `limit`.

    Raises KoreanLLMError where a corpus is of another kind, or naming file, line and field of the first faulty row
    and the places of more.
    """
    parsed: list[T] = []
    for name in names:
        card = load_card(name)
        if card.model.kind not in kinds:
            raise KoreanLLMError(f"{section}.data: {name!r} holds {card.model.kind}, expected {' or '.join(kinds)}.")
        parsed += _of_card(card, parse, None if limit is None else limit - len(parsed))
        if limit is not None and len(parsed) >= limit:
            break
    return parsed


def _of_card(card: Card, parse: Parse[T], limit: int | None) -> list[T]:
    parsed: list[T] = []
    faults: list[tuple[str, str]] = []
    places: dict[str, str] = {}
    for number, (place, raw) in enumerate(raw_rows(card)):
        if limit is not None and number >= limit:
            break
        row = _renamed(raw, card.model.columns)
        try:
            id = _id(row, f"{card.name}-{number}")
            if id in places:
                raise RowError(f"the id {id!r} is that of {places[id]} too")
            places[id] = place
            parsed.append(parse(id, f"{card.name}: {place}", row))
        except RowError as fault:
            faults.append((place, str(fault)))
    if faults:
        raise KoreanLLMError(_told(card.name, faults))
    return parsed


def _renamed(raw: Row, columns: dict[str, str]) -> Row:
    """The row with the card's own names for its columns put right; what the card does not name stays."""
    return raw | {field: raw.get(column) for field, column in columns.items()}


def _id(row: Row, made: str) -> str:
    value = row.get("id")
    if value is None:
        return made
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RowError(f"'id' holds a value of type {type(value).__name__}; expected text")
    return str(value)


def _told(corpus: str, faults: list[tuple[str, str]]) -> str:
    place, fault = faults[0]
    more = [place for place, _ in faults[1:]]
    if not more:
        return f"{corpus}: {place}: {fault}; mend the row, or take it out."
    listed = ", ".join(more[:_MAX_PLACES]) + (", …" if len(more) > _MAX_PLACES else "")
    rows = f"{len(more)} more row{'s' if len(more) > 1 else ''} with faults ({listed})"
    return f"{corpus}: {place}: {fault}; mend this and {rows}, or take them out."


def text_of(row: Row, field: str, name: str | None = None) -> str:
    """The text of a field, stripped; name: how the field is called in messages. Raises RowError."""
    value, name = row.get(field), name or field
    if value is None:
        found = ", ".join(sorted(key for key, given in row.items() if given is not None))
        raise RowError(f"expected text in the field {name!r}, found {found or 'nothing'}")
    if not isinstance(value, str):
        raise RowError(f"expected text in the field {name!r}, found a value of type {type(value).__name__}")
    text = well_formed(value).strip()
    if not text:
        raise RowError(f"the field {name!r} is empty")
    return text


def conversation(value: Any, field: str, last: str) -> list[Message]:
    """Messages {role, content}: a system message or none, then user and assistant in turn, ending with `last`.

    Raises RowError naming the message and its field.
    """
    if not isinstance(value, list) or not value:
        raise RowError(f"expected a list of messages in the field {field!r}, found {type(value).__name__}")
    messages: list[Message] = []
    for index, message in enumerate(value):
        name = f"{field}[{index}]"
        if not isinstance(message, dict):
            raise RowError(f"expected role and content in {name!r}, found a value of type {type(message).__name__}")
        role, expected = text_of(message, "role", f"{name}.role"), _expected(messages)
        if role not in expected:
            raise RowError(f"expected {' or '.join(expected)} in the field '{name}.role', found {role!r}")
        messages.append({"role": role, "content": text_of(message, "content", f"{name}.content")})
    if messages[-1]["role"] != last:
        raise RowError(f"expected the field {field!r} to end with {last}, found {messages[-1]['role']!r}")
    return messages


def _expected(before: list[Message]) -> tuple[str, ...]:
    """The roles that may speak next."""
    if not before:
        return ("system", "user")
    return ("assistant",) if before[-1]["role"] == "user" else ("user",)
