"""The course of one answer: what was asked and understood, what has been said and when, and the answer it ends in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

from korean_llm.answering.answer import Answer, Mode, Piece, Place, Request, Trace
from korean_llm.answering.evidence import Evidence, gather
from korean_llm.answering.rewriting.rewrite import understood
from korean_llm.answering.writing.generate import Generator
from korean_llm.chat import Message
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import checked_question


class Course:
    """Collects the pieces of an answer as they are shown.

    Attributes:
        question: as asked, in NFC.
        evidence: what the index holds on the question.
    """

    def __init__(
        self, asked: Request | str, index: Index, mode: Mode, notice: str, generator: Generator | None = None
    ) -> None:
        """Search. Raises KoreanLLMError for an empty question or one of over 10,000 characters."""
        self._started = monotonic()
        self._first_s: float | None = None
        self.request = Request.of(asked)
        self.question = checked_question(self.request.question)
        self.understood = understood(self.request, generator)
        self.evidence: Evidence = gather(index, self.understood or self.question)
        self.pieces: list[Piece] = []
        self.prompt: tuple[Message, ...] = ()
        self._index, self._mode, self._notice, self._generator = index, mode, notice, generator

    def say(self, new: Iterable[Piece]) -> Iterator[Piece]:
        """The new pieces, remembered; white space before the first word is dropped."""
        for piece in new:
            if not self.pieces:
                piece = replace(piece, text=piece.text.lstrip())
            if piece.text:
                if self._first_s is None:
                    self._first_s = monotonic() - self._started
                self.pieces.append(piece)
                yield piece

    def end(self, **values: Any) -> Piece:
        """The last piece, which carries the whole answer; values: fields of it that are not known here."""
        found = {
            "question": self.question,
            "mode": self._mode,
            "pieces": tuple(self.pieces),
            "citations": self._citations(),
            "notice": self._notice,
            "understood": self.understood,
            "trace": self._trace(),
        }
        return Piece("", answer=Answer(**{**found, **values}))

    def _citations(self) -> tuple[Any, ...]:
        return tuple({piece.citation.number: piece.citation for piece in self.pieces if piece.citation}.values())

    def _trace(self) -> Trace:
        return Trace(
            prompt=tuple({"role": message["role"], "content": message["content"]} for message in self.prompt),
            hits=tuple(Place(hit.document_id, hit.start, hit.end, hit.score) for hit in self.evidence.hits),
            index=getattr(self._index, "fingerprint", ""),
            model=getattr(self._generator, "fingerprint", ""),
            adapter=getattr(self._generator, "adapter_fingerprint", ""),
            first_s=self._first_s,
            whole_s=monotonic() - self._started,
        )
