"""Read .docx (WordprocessingML, ECMA-376 part 1): paragraphs, headings by style, tables, notes, text boxes.

Inserted text counts, deleted text does not; headers, footers and page numbers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from korean_llm.documents.document import Piece
from korean_llm.documents.flow import Flow
from korean_llm.documents.package import Package

MAIN = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_HEADING = re.compile(r"(?:heading|제목|개요)\s*([1-9])", re.IGNORECASE)
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# The same text box stands in a file twice: as drawing, and under Fallback for old programs.
_LEFT_OUT = {"Fallback", "delText", "instrText", "moveFrom", "del"}


def pieces(package: Package) -> Iterator[Piece]:
    """The text of a .docx in reading order, its notes last."""
    levels = _heading_levels(package)
    for name in (MAIN, *_NOTES):
        if name in package.names:
            yield from _part(package, name, levels)


def _part(package: Package, name: str, levels: dict[str, int]) -> Iterator[Piece]:
    reader = _Reader(levels)
    for _ in package.parse(name, reader.start, reader.end, reader.text):
        yield from reader.flow.take()
    reader.flow.close()
    yield from reader.flow.take()


class _Reader:
    def __init__(self, levels: dict[str, int]) -> None:
        self.flow = Flow()
        self._levels = levels
        self._level: list[int] = []  # of each open paragraph
        self._left_out = 0
        self._in_text = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _LEFT_OUT or self._left_out:
            self._left_out += tag in _LEFT_OUT
        elif tag == "p":
            self._level.append(0)
            self.flow.start_paragraph()
        elif tag == "pStyle" and self._level:
            self._level[-1] = self._level[-1] or self._levels.get(attributes.get("val", ""), 0)
        elif tag == "outlineLvl" and self._level:
            self._level[-1] = _outline(attributes.get("val"))
        elif tag == "t":
            self._in_text = True
        elif tag in _BREAKS:
            if not (tag == "tab" and "pos" in attributes):  # a tab stop of the layout, no tab of the text
                self.flow.text(_BREAKS[tag])
        elif tag == "tr":
            self.flow.start_row()
        elif tag == "tc":
            self.flow.start_cell()

    def end(self, tag: str) -> None:
        if self._left_out:
            self._left_out -= tag in _LEFT_OUT
        elif tag == "p":
            self.flow.end_paragraph(self._level.pop() if self._level else 0)
        elif tag == "t":
            self._in_text = False
        elif tag == "tr":
            self.flow.end_row()
        elif tag == "tc":
            self.flow.end_cell()

    def text(self, text: str) -> None:
        if self._in_text and not self._left_out:
            self.flow.text(text)


def _outline(value: str | None) -> int:
    """Heading level of an outline level; 9 means body text."""
    return int(value) + 1 if value is not None and value in "012345678" and value else 0


def _heading_levels(package: Package) -> dict[str, int]:
    """Style id → heading level, by the style's outline level or its name ("heading 1", "제목 1"; "Title" is 1)."""
    levels: dict[str, int] = {}
    style = ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal style
        value = attributes.get("val", "")
        if tag == "style":
            style = attributes.get("styleId", "")
        elif tag == "name" and style:
            found = _HEADING.match(value)
            if found or value.lower() == "title":
                levels[style] = int(found[1]) if found else 1
        elif tag == "outlineLvl" and style and _outline(value):
            levels[style] = _outline(value)

    package.parse_all("word/styles.xml", start)
    return levels
