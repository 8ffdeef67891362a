"""Word-processor XML as events of a flow: what WordprocessingML and OWPML call by the same names."""

from __future__ import annotations

from collections.abc import Iterator

from korean_llm.documents.document import Piece
from korean_llm.documents.flow import Flow
from korean_llm.documents.package import Package


class Markup:
    """Paragraphs (p), rows (tr), cells (tc) and text; a format adds its own elements in `other`.

    Attributes:
        left_out: elements that are passed over with all they hold.
        text_tags: elements whose characters are text.
        levels: heading level of each open paragraph, the innermost last.
    """

    left_out: frozenset[str]
    text_tags: frozenset[str] = frozenset({"t"})

    def __init__(self) -> None:
        self.flow = Flow()
        self.levels: list[int] = []
        self.in_text = 0
        self._left_out = 0

    def level(self, attributes: dict[str, str]) -> int:
        """The heading level of a paragraph by its own attributes, 0 for none."""
        return 0

    def other(self, tag: str, attributes: dict[str, str]) -> None:
        """An element of the format's own begins."""

    def read(self, package: Package, name: str) -> Iterator[Piece]:
        """The pieces of a member."""
        for _ in package.parse(name, self._start, self._end, self._text):
            yield from self.flow.take()
        self.flow.close()
        yield from self.flow.take()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in self.left_out or self._left_out:
            self._left_out += tag in self.left_out
        elif tag == "p":
            self.levels.append(self.level(attributes))
            self.flow.start_paragraph()
        elif tag in self.text_tags:
            self.in_text += 1
        elif tag == "tr":
            self.flow.start_row()
        elif tag == "tc":
            self.flow.start_cell()
        else:
            self.other(tag, attributes)

    def _end(self, tag: str) -> None:
        if self._left_out:
            self._left_out -= tag in self.left_out
        elif tag == "p":
            self.flow.end_paragraph(self.levels.pop() if self.levels else 0)
        elif tag in self.text_tags:
            self.in_text -= 1
        elif tag == "tr":
            self.flow.end_row()
        elif tag == "tc":
            self.flow.end_cell()

    def _text(self, text: str) -> None:
        if self.in_text and not self._left_out:
            self.flow.text(text)
