"""What is asked, what an answer is (pieces in order, verified citations, how it came about), and who answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Any, Literal, get_args

Mode = Literal["extractive", "generative"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Turn:
    """An earlier question of a conversation and what was answered."""

    question: str
    answer: str


@dataclass(frozen=True)
class Sampling:
    """How a model chooses its words.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        top_p: the likeliest tokens that together hold this share of the probability are drawn from.
        max_new_tokens: at most this many; None: as many as the model's place in memory is good for.
        stop: texts at which the answer ends; they are not shown.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int | None = None
    seed: int = 17
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """A question with what it is asked in.

    Attributes:
        history: earlier turns, oldest first; the question may lean on them ("그럼 일요일은요?").
        fresh: answer anew, though an answer be kept.
    """

    question: str
    history: tuple[Turn, ...] = ()
    sampling: Sampling = Sampling()
    fresh: bool = False

    @classmethod
    def of(cls, asked: Request | str) -> Request:
        """A bare question as a request."""
        return asked if isinstance(asked, Request) else cls(asked)


@dataclass(frozen=True)
class Citation:
    """Where a claim stands: document text[start:end] == text, checked when the citation was made.

    page: counted from 1; None where the document has no pages.
    """

    number: int
    document_id: str
    title: str
    start: int
    end: int
    text: str
    page: int | None = None


StepKind = Literal["rewrite", "search", "open", "calculate"]


@dataclass(frozen=True)
class Step:
    """Something done on the way to an answer, for the reader to see: what went in, and what came out of it."""

    kind: StepKind
    asked: str
    found: str


@dataclass(frozen=True)
class Place:
    """A passage that an answer was made from."""

    document_id: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Trace:
    """How an answer came about; kept with feedback, never shown as part of the answer.

    Attributes:
        prompt: the conversation as the model was given it; empty where no model was asked.
        hits: the passages found, best first.
        index, model, adapter: fingerprints (model and adapter "" where there is none).
        first_s: seconds to the first text; None where there was none. whole_s: seconds to the end.
    """

    prompt: tuple[dict[str, str], ...] = ()
    hits: tuple[Place, ...] = ()
    index: str = ""
    model: str = ""
    adapter: str = ""
    first_s: float | None = None
    whole_s: float = 0.0


@dataclass(frozen=True)
class Piece:
    """Part of an answer as it is streamed.

    Attributes:
        text: what is shown next; the texts of all pieces, joined, are the answer's text.
        citation: set where this piece is a mark such as "[1]".
        step: set where something was done before the answer begins; its text is empty.
        answer: set on the last piece, whose text is empty.
    """

    text: str
    citation: Citation | None = None
    step: Step | None = None
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
        unsupported: sentences of the answer for which the documents hold no evidence; an extract has none.
        stopped: True where the reader stopped it.
        understood: the question as it was searched, where an earlier turn was needed to understand it; else "".
        steps: what was done on the way, in order.
        kept_from: the question that a kept answer was first given to; "" for an answer made now.
    """

    question: str
    mode: Mode
    pieces: tuple[Piece, ...]
    citations: tuple[Citation, ...]
    found: bool = True
    nearest: tuple[Citation, ...] = ()
    notice: str = ""
    unsupported: tuple[str, ...] = ()
    stopped: bool = False
    understood: str = ""
    steps: tuple[Step, ...] = ()
    kept_from: str = ""
    trace: Trace = field(default=Trace(), compare=False)

    @property
    def text(self) -> str:
        """The answer with its marks, as plain text."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def source_lines(self) -> list[str]:
        """One line per citation, then per offered passage: title, document and span."""
        marked = [(f"[{citation.number}]", citation) for citation in self.citations]
        marked += [("가까운 문서:", citation) for citation in self.nearest]
        return [
            f"{mark} {place.title} — {place.document_id}{_page(place)} {place.start}–{place.end}"
            for mark, place in marked
        ]

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
            "unsupported": list(self.unsupported),
            "stopped": self.stopped,
            "understood": self.understood,
            "steps": [asdict(step) for step in self.steps],
            "kept_from": self.kept_from,
        }


class Answerer(ABC):
    """Answers questions in one mode.

    Attributes:
        notice: one line in Korean on how its answers come about and how far to trust them.
    """

    mode: Mode
    notice: str

    @abstractmethod
    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """Pieces of the answer as they come; the last one carries the whole answer.

        stop: set it from another thread and the answer ends within a token, keeping what was said.
        Raises KoreanLLMError for an empty question, one of over 10,000 characters, or a model out of reach.
        """

    def answer(self, asked: Request | str) -> Answer:
        """The whole answer at once. Raises KoreanLLMError as `stream` does."""
        *_, last = self.stream(asked)
        assert last.answer is not None  # stream promises it
        return last.answer


def _page(place: Citation) -> str:
    return f" {place.page}쪽" if place.page else ""
