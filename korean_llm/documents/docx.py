"""Read .docx (WordprocessingML, ECMA-376 part 1): paragraphs, headings by style, tables, notes, text boxes.

Inserted text counts, deleted text does not; headers, footers and page numbers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from korean_llm.documents.document import Piece
from korean_llm.documents.markup import Markup
from korean_llm.documents.package import Package

MAIN = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_HEADING = re.compile(r"(?:heading|제목|개요)\s*([1-9])", re.IGNORECASE)
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
# The same text box stands in a file twice: as drawing, and under Fallback for old programs.
_LEFT_OUT = frozenset({"Fallback", "delText", "instrText", "moveFrom", "del"})


def pieces(package: Package) -> Iterator[Piece]:
    """The text of a .docx in reading order, its notes last."""
    levels = _heading_levels(package)
    for name in (MAIN, *_NOTES):
        if name in package.names:
            yield from _Reader(levels).read(package, name)


class _Reader(Markup):
    left_out = _LEFT_OUT

    def __init__(self, by_style: dict[str, int]) -> None:
        super().__init__()
        self._by_style = by_style

    def other(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "pStyle" and self.levels:
            self.levels[-1] = self.levels[-1] or self._by_style.get(attributes.get("val", ""), 0)
        elif tag == "outlineLvl" and self.levels:
            self.levels[-1] = _outline(attributes.get("val"))
        elif tag in _BREAKS and not (tag == "tab" and "pos" in attributes):  # a tab stop of the layout is no text
            self.flow.text(_BREAKS[tag])


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
