"""Read JSON lines and CSV: one document a row where rows hold "text", else one table."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korean_llm.documents.document import Piece
from korean_llm.errors import KoreanLLMError

_DELIMITERS = ",\t;|"
MAX_CELL_CHARS = 10_000_000


@dataclass(frozen=True)
class Row:
    """A row that is a document of its own; id is its own or its number, from 1."""

    id: str
    title: str
    text: str


def json_rows(text: str, path: Path) -> Iterator[Row]:
    """The rows of JSON lines, with {"text"} and optionally {"id", "title"}. Raises KoreanLLMError naming the line."""
    start = number = 0
    while start < len(text):
        stop = text.find("\n", start)
        stop = len(text) if stop < 0 else stop
        line = text[start:stop]
        number += 1
        if line.strip():
            yield _json_row(line, number, f"{path} line {number}")
        start = stop + 1


def _json_row(line: str, number: int, place: str) -> Row:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", "nested too deep, or a number of too many digits")
        raise KoreanLLMError(f"{place}: not valid JSON ({why}).") from None
    if not isinstance(values, dict):
        raise KoreanLLMError(f"{place}: expected a JSON object, found {type(values).__name__}.")
    if not isinstance(values.get("text"), str):
        found = ", ".join(sorted(map(str, values))[:8]) or "an empty object"
        raise KoreanLLMError(f"{place}: expected text in the field 'text', found {found}.")
    id, title = values.get("id"), values.get("title")
    return Row(
        str(id) if id not in (None, "") else str(number), title if isinstance(title, str) else "", values["text"]
    )


def csv_rows(text: str, path: Path) -> Iterator[Row] | Iterator[Piece]:
    """Rows of a table with a column "text", or else the pieces of one table, "column: value | column: value" a row.

    Raises KoreanLLMError where a cell is larger than any real one, or a quote is never closed.
    """
    first = text.split("\n", 1)[0]
    counts = Counter(character for character in first if character in _DELIMITERS)
    delimiter = counts.most_common(1)[0][0] if counts else ","
    table = _table(text, delimiter, path)
    names = [name.strip() for name in next(table, [])]
    return _documents(names, table) if "text" in names else _pieces(names, table)


def _table(text: str, delimiter: str, path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(_keep_lines(text), delimiter=delimiter, strict=True)
    try:
        yield from (row for row in reader if any(cell.strip() for cell in row))
    except csv.Error as error:
        raise KoreanLLMError(f"{path} line {reader.line_num} is no row of a CSV table ({error}); correct it.") from None


def _keep_lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        stop = text.find("\n", start) + 1 or len(text)
        yield text[start:stop]
        start = stop


def _documents(names: list[str], table: Iterator[list[str]]) -> Iterator[Row]:
    for number, cells in enumerate(table, start=1):
        values = dict(zip(names, cells, strict=False))
        yield Row(values.get("id") or str(number), values.get("title", ""), values.get("text", ""))


def _pieces(names: list[str], table: Iterator[list[str]]) -> Iterator[Piece]:
    num_rows = 0
    for cells in table:
        num_rows += 1
        named = names + [""] * (len(cells) - len(names))
        pairs = [(name, " ".join(cell.split())) for name, cell in zip(named, cells, strict=False)]
        yield Piece(" | ".join(f"{name}: {cell}" if name else cell for name, cell in pairs if cell), "row")
    if not num_rows and any(names):
        yield Piece(" | ".join(names), "row")
