"""What a read file is: text, where its structure stands in it, and what the reader has to say about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from korean_llm.documents.text import clean
from korean_llm.errors import KoreanLLMError

Role = Literal["heading", "paragraph", "row"]

MAX_TEXT_CHARS = 100_000_000
"""Text of one document; past it the file is refused, so that memory stays bounded whatever a file unpacks to."""

MAX_TITLE_CHARS = 80


@dataclass(frozen=True)
class Piece:
    """A stretch of text that a reader hands on, in reading order; level is that of a heading, from 1."""

    text: str
    role: Role = "paragraph"
    level: int = 0
    page: int | None = None


@dataclass(frozen=True)
class Block:
    """Characters start … end of a document's text and what they are; level is that of a heading, from 1."""

    start: int
    end: int
    role: Role
    level: int = 0


@dataclass(frozen=True)
class Page:
    """Characters start … end of a document's text stand on page `number`, counted from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """A read document.

    Attributes:
        id: the path as it was given, in NFC and with "/" between its parts; of a row, "#" and its own id behind it.
        text: NFC; all spans are characters of this text, as stored.
        blocks: headings, paragraphs and table rows, in order; all visible text stands in one of them.
        pages: of a PDF, its pages that hold text.
        notes: sentences on what was mended or left out.
    """

    id: str
    title: str
    text: str
    path: Path
    kind: str
    blocks: tuple[Block, ...] = ()
    pages: tuple[Page, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Body:
    """What one format's reader finds: Document without its name."""

    text: str
    blocks: tuple[Block, ...]
    title: str = ""
    pages: tuple[Page, ...] = ()
    notes: tuple[str, ...] = ()


def body_of(pieces: Iterable[Piece], path: Path) -> Body:
    """Join pieces: rows of a table by a line feed, everything else by an empty line; empty pieces vanish.

    Raises KoreanLLMError where they hold more text than a document may.
    """
    texts: list[str] = []
    blocks: list[Block] = []
    pages: list[Page] = []
    at = 0
    for piece in pieces:
        text = clean(piece.text).strip()
        if not text:
            continue
        gap = "" if not blocks else "\n" if piece.role == blocks[-1].role == "row" else "\n\n"
        start = at + len(gap)
        at = start + len(text)
        if at > MAX_TEXT_CHARS:
            raise too_much_text(path)
        texts += (gap, text)
        blocks.append(Block(start, at, piece.role, piece.level))
        if piece.page is not None:
            _extend(pages, piece.page, start, at)
    return Body("".join(texts), tuple(blocks), pages=tuple(pages))


def _extend(pages: list[Page], number: int, start: int, end: int) -> None:
    if pages and pages[-1].number == number:
        start = pages.pop().start
    pages.append(Page(number, start, end))


def too_much_text(path: Path) -> KoreanLLMError:
    """The error of a document that is larger than any real one."""
    return KoreanLLMError(f"{path} holds more than {MAX_TEXT_CHARS:,} characters of text; split it and try again.")
