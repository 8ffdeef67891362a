"""Read .hwpx (OWPML, KS X 6101): paragraphs, headings by outline, tables, notes, text boxes.

Headers, footers, page numbers and hidden comments are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from korean_llm.documents.document import Piece
from korean_llm.documents.markup import Markup
from korean_llm.documents.package import Package
from korean_llm.errors import KoreanLLMError

_SECTION = re.compile(r"Contents/section(\d+)\.xml")
_OUTLINE_STYLE = re.compile(r"(?:개요|outline|제목|heading)\s*([1-9])", re.IGNORECASE)
_LEFT_OUT = frozenset({"header", "footer", "pageNum", "autoNum", "newNum", "hiddenComment"})
_BREAKS = {"lineBreak": "\n", "tab": "\t", "nbSpace": "\u00a0", "fwSpace": " ", "hyphen": "-"}
_MANIFEST = "META-INF/manifest.xml"


def pieces(package: Package) -> Iterator[Piece]:
    """The text of a .hwpx in reading order. Raises KoreanLLMError where it is protected by a password."""
    if b"encryption-data" in package.read(_MANIFEST):
        raise KoreanLLMError(f"{package.path} is protected by a password; save it without one and try again.")
    levels = _Levels(package)
    found = [(int(match[1]), name) for name in package.names if (match := _SECTION.fullmatch(name))]
    for _, name in sorted(found):
        yield from _Reader(levels).read(package, name)


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


class _Reader(Markup):
    left_out = _LEFT_OUT
    text_tags = frozenset({"t", "script"})  # script: an equation

    def __init__(self, headings: _Levels) -> None:
        super().__init__()
        self._headings = headings

    def level(self, attributes: dict[str, str]) -> int:
        return self._headings.of(attributes)

    def other(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _BREAKS and self.in_text:
            self.flow.text(_BREAKS[tag])
