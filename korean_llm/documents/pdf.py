"""Read .pdf by PDFium: the text of every page, headings by their larger type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from korean_llm.documents.document import MAX_TEXT_CHARS, Body, Piece, body_of, too_much_text
from korean_llm.documents.flow import MAX_HEADING_CHARS
from korean_llm.errors import KoreanLLMError

_HEADING_RATIO = 1.15
"""Type that much larger than the document's most frequent one makes a heading."""


@dataclass(frozen=True)
class _Line:
    page: int
    text: str
    size: float


def body(file: BinaryIO, path: Path) -> Body:
    """The text of a PDF. Raises KoreanLLMError where it is encrypted, damaged, or a scan without text."""
    try:
        document = pdfium.PdfDocument(file)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise KoreanLLMError(f"{path} is protected by a password; save it without one and try again.") from None
        raise KoreanLLMError(f"{path} is a damaged PDF ({error}); fetch it again.") from None
    try:
        lines = list(_lines(document, path))
        num_pages = len(document)
    except pdfium.PdfiumError as error:
        raise KoreanLLMError(f"{path} is a damaged PDF ({error}); fetch it again.") from None
    finally:
        document.close()
    found = body_of(_pieces(lines), path)
    if not found.text:
        raise KoreanLLMError(f"{path} holds no text on its {num_pages:,} pages; if it is a scan, run an OCR first.")
    with_text = {page.number for page in found.pages}
    empty = [number for number in range(1, num_pages + 1) if number not in with_text]
    listed = ", ".join(map(str, empty[:10])) + (" …" if len(empty) > 10 else "")
    notes = (f"{len(empty)} of {num_pages} pages hold no text, perhaps pictures: {listed}.",) if empty else ()
    return Body(found.text, found.blocks, document_title(found), found.pages, notes)


def document_title(found: Body) -> str:
    """The first heading where the first page begins with one, else nothing."""
    return next((found.text[b.start : b.end] for b in found.blocks[:2] if b.role == "heading"), "")


def _lines(document: pdfium.PdfDocument, path: Path) -> Iterator[_Line]:
    num_chars = 0
    for number in range(len(document)):
        page = document[number]
        textpage = page.get_textpage()
        text = textpage.get_text_range()
        num_chars += len(text)
        if num_chars > MAX_TEXT_CHARS:
            raise too_much_text(path)
        at = 0
        for line in text.splitlines(keepends=True):
            if line.strip():
                yield _Line(number + 1, line.rstrip(), _size(textpage, at + len(line) - len(line.lstrip())))
            at += len(line)
        textpage.close()
        page.close()


def _size(textpage: pdfium.PdfTextPage, place: int) -> float:
    """Type size in points at a character, rounded to half points."""
    return round(2 * raw.FPDFText_GetFontSize(textpage, place)) / 2


def _pieces(lines: list[_Line]) -> Iterator[Piece]:
    """Lines of the same page and kind, joined; headings have a level by their size, the largest first."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    usual = sizes.most_common(1)[0][0] if sizes else 0.0
    larger = sorted((size for size in sizes if size >= _HEADING_RATIO * usual > 0), reverse=True)
    levels = {size: min(level, 6) for level, size in enumerate(larger, start=1)}
    group: list[_Line] = []
    for line in lines:
        if group and (line.page, levels.get(line.size, 0)) != (group[-1].page, levels.get(group[-1].size, 0)):
            yield _joined(group, levels)
            group = []
        group.append(line)
    if group:
        yield _joined(group, levels)


def _joined(group: list[_Line], levels: dict[float, int]) -> Piece:
    level = levels.get(group[0].size, 0)
    text = "\n".join(line.text for line in group)
    if level and len(text) <= MAX_HEADING_CHARS:
        return Piece(" ".join(text.split()), "heading", level, group[0].page)
    return Piece(text, page=group[0].page)
