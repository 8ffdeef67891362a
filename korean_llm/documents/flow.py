"""Word-processor text as events: paragraphs that hold notes, boxes and tables, tables that hold paragraphs.

What stands inside a paragraph but is a text of its own (a footnote, a text box, a table) follows that paragraph.
A table is read row by row, its cells joined by " | "; a table inside a cell becomes text of that cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from korean_llm.documents.document import Piece

CELL_GAP = " | "
MAX_HEADING_CHARS = 120
"""A longer paragraph is none, whatever its style says."""


@dataclass
class _Frame:
    kind: Literal["paragraph", "row", "cell"]
    parts: list[str] = field(default_factory=list)
    after: list[Piece] = field(default_factory=list)


class Flow:
    """Turns events into pieces; `ready` holds those that are complete, for the reader to take."""

    def __init__(self) -> None:
        self.ready: list[Piece] = []
        self._open: list[_Frame] = []

    @property
    def depth(self) -> int:
        """How many paragraphs, rows and cells are open."""
        return len(self._open)

    def take(self) -> list[Piece]:
        """The complete pieces, once."""
        taken, self.ready = self.ready, []
        return taken

    def start_paragraph(self) -> None:
        """A paragraph begins."""
        self._open.append(_Frame("paragraph"))

    def text(self, text: str) -> None:
        """Text of the paragraph or cell that is open; outside of both it is layout of the file."""
        if self._open and self._open[-1].kind != "row":
            self._open[-1].parts.append(text)

    def end_paragraph(self, level: int = 0) -> None:
        """The paragraph ends; level is that of a heading, 0 for none."""
        frame = self._close("paragraph")
        text = "".join(frame.parts).strip()
        is_heading = level > 0 and 0 < len(text) <= MAX_HEADING_CHARS and not frame.after
        self._deliver([Piece(text, "heading", level) if is_heading else Piece(text), *frame.after])

    def start_row(self) -> None:
        """A row of a table begins."""
        self._open.append(_Frame("row"))

    def start_cell(self) -> None:
        """A cell of the open row begins."""
        self._open.append(_Frame("cell"))

    def end_cell(self) -> None:
        """The cell ends."""
        cell = " ".join(" ".join(self._close("cell").parts).split())
        if self._open and self._open[-1].kind == "row":
            self._open[-1].parts.append(cell)

    def end_row(self) -> None:
        """The row ends; one without any text vanishes."""
        cells = self._close("row").parts
        self._deliver([Piece(CELL_GAP.join(cells), "row")] if any(cells) else [])

    def close(self) -> None:
        """End all that is still open, as where a file breaks off."""
        ends = {"paragraph": self.end_paragraph, "cell": self.end_cell, "row": self.end_row}
        while self._open:
            ends[self._open[-1].kind]()

    def _close(self, kind: str) -> _Frame:
        """The innermost frame of a kind; what a damaged file left open inside it is closed first."""
        if not any(frame.kind == kind for frame in self._open):
            return _Frame("paragraph")
        ends = {"paragraph": self.end_paragraph, "cell": self.end_cell, "row": self.end_row}
        while self._open[-1].kind != kind:
            ends[self._open[-1].kind]()
        return self._open.pop()

    def _deliver(self, pieces: list[Piece]) -> None:
        pieces = [piece for piece in pieces if piece.text]
        holder = next((frame for frame in reversed(self._open) if frame.kind != "row"), None)
        if holder is None:
            self.ready += pieces
        elif holder.kind == "cell":
            holder.parts += [piece.text for piece in pieces]
        else:
            holder.after += pieces
