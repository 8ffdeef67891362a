"""What an answer is: its pieces in order, its verified citations, and who answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any, Literal, get_args

Mode = Literal["extractive", "generative"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Citation:
    """Where a claim stands: document text[start:end] == text, checked when the citation was made."""

    number: int
    document_id: str
    title: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Piece:
    """Part of an answer as it is streamed.

    Attributes:
        text: what is shown next; the texts of all pieces, joined, are the answer's text.
        citation: set where this piece is a mark such as "[1]".
        answer: set on the last piece, whose text is empty.
    """

    text: str
    citation: Citation | None = None
    answer: Answer | None = None


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        question: as asked, in NFC and without outer space.
        pieces: text and citation marks in order.
        citations: every citation of the pieces once, by number.
        found: False where the documents do not answer the question.
        nearest: the best passages, one per document, offered where an answer is not found or cites nothing.
        notice: one line about how far to trust this answer.
        stopped: True where the reader stopped it.
    """

    question: str
    mode: Mode
    pieces: tuple[Piece, ...]
    citations: tuple[Citation, ...]
    found: bool = True
    nearest: tuple[Citation, ...] = ()
    notice: str = ""
    stopped: bool = False

    @property
    def text(self) -> str:
        """The answer with its marks, as plain text."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def source_lines(self) -> list[str]:
        """One line per citation, then per offered passage: title, document and span."""
        marked = [(f"[{citation.number}]", citation) for citation in self.citations]
        marked += [("가까운 문서:", citation) for citation in self.nearest]
        return [f"{mark} {place.title} — {place.document_id} {place.start}–{place.end}" for mark, place in marked]

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "question": self.question,
            "mode": self.mode,
            "found": self.found,
            "text": self.text,
            "citations": [asdict(citation) for citation in self.citations],
            "nearest": [asdict(citation) for citation in self.nearest],
            "notice": self.notice,
            "stopped": self.stopped,
        }


class Answerer(ABC):
    """Answers questions in one mode.

    Attributes:
        notice: one line in Korean on how its answers come about and how far to trust them.
    """

    mode: Mode
    notice: str

    @abstractmethod
    def stream(self, question: str, stop: Event | None = None) -> Iterator[Piece]:
        """Pieces of the answer as they come; the last one carries the whole answer.

        stop: set it from another thread and the answer ends within a token, keeping what was said.
        Raises KoreanLLMError for an empty question, one of over 10,000 characters, or a model out of reach.
        """

    def answer(self, question: str) -> Answer:
        """The whole answer at once. Raises KoreanLLMError as `stream` does."""
        *_, last = self.stream(question)
        assert last.answer is not None  # stream promises it
        return last.answer
