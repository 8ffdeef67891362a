"""Read files into documents, each by what it is and not by what it is called."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from selectolax.lexbor import LexborHTMLParser

from korean_llm.documents import docx, html, hwp, hwpx, pdf, rows
from korean_llm.documents.document import MAX_TEXT_CHARS, MAX_TITLE_CHARS, Body, Document, Piece, body_of, too_much_text
from korean_llm.documents.kinds import SUFFIXES, Kind, kind_of, open_file
from korean_llm.documents.package import Package
from korean_llm.documents.plain import markdown_body, text_body
from korean_llm.documents.text import clean, decode
from korean_llm.errors import KoreanLLMError

_HTML_SAMPLE = 8_192


@dataclass(frozen=True)
class Problem:
    """A file that could not be read, and why, in one sentence."""

    path: Path
    message: str


def read_files(
    paths: Iterable[Path | str], *, on_error: Literal["raise"] | list[Problem] = "raise"
) -> Iterator[Document]:
    """The documents of files, in order; a file of rows gives one for each row that holds text.

    on_error: "raise" stops at the first file that cannot be read with its KoreanLLMError; a list collects such
    files as problems, and reading goes on. What was read of a file before its fault has been given out.
    """
    for path in map(Path, paths):
        try:
            yield from read_file(path)
        except KoreanLLMError as error:
            if on_error == "raise":
                raise
            on_error.append(Problem(path, str(error)))


def read_file(path: Path) -> Iterator[Document]:
    """The documents of one file. Raises KoreanLLMError where it cannot be read, or holds no text.

    The file is opened once: should another take its name meanwhile, the one that was looked at is read.
    """
    with open_file(path) as file:
        try:
            kind = kind_of(file, path)
            yield from _documents(file, path, kind)
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise KoreanLLMError(f"{path} cannot be read ({why}); check the disk and the file.") from None


def _documents(file: BinaryIO, path: Path, kind: Kind) -> Iterator[Document]:
    notes = _name_notes(path, kind)
    if kind in ("jsonl", "csv"):
        text, mended = _text(file, path)
        found = rows.json_rows(text, path) if kind == "jsonl" else rows.csv_rows(text, path)
        yield from _row_documents(found, path, kind, (*notes, *mended))
        return
    body = _body(file, path, kind)
    if not body.blocks:
        raise KoreanLLMError(f"{path} holds no text; leave it out, or check that it was saved whole.")
    yield _document(body, path, kind, notes)


def _name_notes(path: Path, kind: Kind) -> tuple[str, ...]:
    said = SUFFIXES.get(path.suffix.lower())
    return () if said in (None, kind) else (f"{path.name} is {kind} by its content and was read as such.",)


def _body(file: BinaryIO, path: Path, kind: Kind) -> Body:
    if kind == "pdf":
        return pdf.body(file, path)
    if kind == "hwp":
        return body_of(hwp.pieces(file, path), path)
    if kind in ("docx", "hwpx"):
        package = Package(file, path)
        return body_of((docx if kind == "docx" else hwpx).pieces(package), path)
    if kind == "html":
        return _html_body(file, path)
    text, notes = _text(file, path)
    return replace((markdown_body if kind == "md" else text_body)(text), notes=notes)


def _html_body(file: BinaryIO, path: Path) -> Body:
    declared = html.CHARSET.search(file.read(_HTML_SAMPLE))
    file.seek(0)
    text, notes = _text(file, path, declared[1].decode("ascii") if declared else None)
    tree = LexborHTMLParser(text)
    return replace(body_of(html.pieces(tree), path), title=html.title(tree), notes=notes)


def _text(file: BinaryIO, path: Path, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The clean text of a file, and a note where bytes of it were mended."""
    decoded = decode(file.read(), path, declared)
    if len(decoded.text) > MAX_TEXT_CHARS:
        raise too_much_text(path)
    mended = f"{decoded.num_damaged} places were not valid {decoded.encoding} and hold U+FFFD instead."
    return clean(decoded.text), (mended,) if decoded.num_damaged else ()


def _row_documents(
    found: Iterator[rows.Row] | Iterator[Piece], path: Path, kind: Kind, notes: tuple[str, ...]
) -> Iterator[Document]:
    pieces: list[Piece] = []
    num_documents = 0
    for row in found:
        if isinstance(row, Piece):
            pieces.append(row)
            continue
        body = replace(text_body(clean(row.text)), title=clean(row.title))
        if body.blocks:
            num_documents += 1
            document = _document(body, path, kind, notes)
            yield replace(document, id=f"{document.id}#{clean(row.id)}")
    if pieces:
        yield _document(body_of(pieces, path), path, kind, notes)
    elif not num_documents:
        raise KoreanLLMError(f"{path} holds no text; leave it out, or check that it was saved whole.")


def _document(body: Body, path: Path, kind: Kind, notes: tuple[str, ...]) -> Document:
    name = unicodedata.normalize("NFC", path.stem)
    heading = next((body.text[block.start : block.end] for block in body.blocks if block.role == "heading"), "")
    title = " ".join((body.title or heading or name).split())[:MAX_TITLE_CHARS]
    id = clean(path.as_posix())
    return Document(id, title, body.text, path, kind, body.blocks, body.pages, (*notes, *body.notes))
