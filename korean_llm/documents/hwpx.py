"""Read .hwpx (OWPML, KS X 6101): paragraphs, headings by outline, tables, notes, text boxes.

Headers, footers, page numbers and hidden comments are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from korean_llm.documents.document import Piece
from korean_llm.documents.flow import Flow
from korean_llm.documents.package import Package
from korean_llm.errors import KoreanLLMError

_SECTION = re.compile(r"Contents/section(\d+)\.xml")
_OUTLINE_STYLE = re.compile(r"(?:개요|outline|제목|heading)\s*([1-9])", re.IGNORECASE)
_LEFT_OUT = {"header", "footer", "pageNum", "autoNum", "newNum", "hiddenComment"}
_BREAKS = {"lineBreak": "\n", "tab": "\t", "nbSpace": "\u00a0", "fwSpace": " ", "hyphen": "-"}
_MANIFEST = "META-INF/manifest.xml"


def pieces(package: Package) -> Iterator[Piece]:
    """The text of a .hwpx in reading order. Raises KoreanLLMError where it is protected by a password."""
    if b"encryption-data" in package.read(_MANIFEST):
        raise KoreanLLMError(f"{package.path} is protected by a password; save it without one and try again.")
    levels = _Levels(package)
    found = [(int(match[1]), name) for name in package.names if (match := _SECTION.fullmatch(name))]
    for _, name in sorted(found):
        reader = _Reader(levels)
        for _ in package.parse(name, reader.start, reader.end, reader.text):
            yield from reader.flow.take()
        reader.flow.close()
        yield from reader.flow.take()


class _Levels:
    """Which paragraph shapes and styles are headings, by the header of the document."""

    def __init__(self, package: Package) -> None:
        self._by_shape: dict[str, int] = {}
        self._by_style: dict[str, int] = {}
        self._shape = ""
        package.parse_all("Contents/header.xml", self._start)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "paraPr":
            self._shape = attributes.get("id", "")
        elif tag == "heading" and attributes.get("type") == "OUTLINE" and attributes.get("level", "").isdecimal():
            self._by_shape[self._shape] = int(attributes["level"]) + 1
        elif tag == "style":
            names = (attributes.get("name", ""), attributes.get("engName", ""))
            found = next((match for name in names if (match := _OUTLINE_STYLE.match(name))), None)
            if found:
                self._by_style[attributes.get("id", "")] = int(found[1])

    def of(self, attributes: dict[str, str]) -> int:
        """The heading level of a paragraph by its attributes, 0 for none."""
        style, shape = attributes.get("styleIDRef", ""), attributes.get("paraPrIDRef", "")
        return self._by_style.get(style) or self._by_shape.get(shape, 0)


class _Reader:
    def __init__(self, levels: _Levels) -> None:
        self.flow = Flow()
        self._levels = levels
        self._open_levels: list[int] = []
        self._left_out = 0
        self._in_text = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _LEFT_OUT or self._left_out:
            self._left_out += tag in _LEFT_OUT
        elif tag == "p":
            self._open_levels.append(self._levels.of(attributes))
            self.flow.start_paragraph()
        elif tag in ("t", "script"):  # script: an equation
            self._in_text += 1
        elif tag in _BREAKS and self._in_text:
            self.flow.text(_BREAKS[tag])
        elif tag == "tr":
            self.flow.start_row()
        elif tag == "tc":
            self.flow.start_cell()

    def end(self, tag: str) -> None:
        if self._left_out:
            self._left_out -= tag in _LEFT_OUT
        elif tag == "p":
            self.flow.end_paragraph(self._open_levels.pop() if self._open_levels else 0)
        elif tag in ("t", "script"):
            self._in_text -= 1
        elif tag == "tr":
            self.flow.end_row()
        elif tag == "tc":
            self.flow.end_cell()

    def text(self, text: str) -> None:
        if self._in_text and not self._left_out:
            self.flow.text(text)
