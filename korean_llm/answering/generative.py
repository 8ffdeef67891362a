"""Answers written by a language model from numbered passages, its citations resolved and verified."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from korean_llm.answering.answer import Answer, Answerer, Citation, Mode, Piece, Request
from korean_llm.answering.cite import Marks, nearest_documents, passage_citations
from korean_llm.answering.evidence import Evidence, gather
from korean_llm.answering.extractive import NUM_NEAREST, not_found
from korean_llm.answering.generate import Generator
from korean_llm.answering.prompt import build_prompt
from korean_llm.chat import Message
from korean_llm.retrieval import Index

MAX_PASSAGES = 4
UNCITED = "근거 번호를 달지 않은 답이니 가까운 문서와 견주어 보세요."
EMPTY = "모델이 답을 내놓지 않았습니다."


class GenerativeAnswerer(Answerer):
    """A model's answer over the best passages. Its marks are kept only where they name a passage it was given."""

    mode: Mode = "generative"

    def __init__(self, index: Index, generator: Generator, notice: str) -> None:
        self.index, self.generator, self.notice = index, generator, notice

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """Pieces as the model writes them; the last carries the whole answer."""
        evidence = gather(self.index, Request.of(asked).question)
        if not evidence.relevant:
            yield from not_found(self.index, evidence, self.mode, self.notice)
            return
        passages = passage_citations(self.index, evidence.hits[:MAX_PASSAGES])
        messages, given = build_prompt(evidence.question, passages, self.generator.measure, self.generator.budget)
        marks = Marks({passage.number: passage for passage in given})
        pieces: list[Piece] = []
        yield from _remembered(self._marked(messages, marks, stop), pieces)
        stopped = stop is not None and stop.is_set()
        if not pieces and not stopped:
            yield from _remembered(iter([Piece(EMPTY)]), pieces)
        yield Piece("", answer=self._answer(evidence, pieces, marks.citations, stopped))

    def _marked(self, messages: list[Message], marks: Marks, stop: Event | None) -> Iterator[Piece]:
        """What the model writes, cut at its marks, until it ends or is stopped."""
        for text in self.generator.generate(messages):
            if stop is not None and stop.is_set():
                break
            yield from marks.feed(text)
        yield from marks.finish()

    def _answer(
        self, evidence: Evidence, pieces: list[Piece], citations: tuple[Citation, ...], stopped: bool
    ) -> Answer:
        return Answer(
            question=evidence.question,
            mode=self.mode,
            pieces=tuple(pieces),
            citations=citations,
            nearest=() if citations else nearest_documents(self.index, evidence.hits, NUM_NEAREST),
            notice=self.notice if citations else f"{self.notice} {UNCITED}",
            stopped=stopped,
        )


def _remembered(new: Iterator[Piece], pieces: list[Piece]) -> Iterator[Piece]:
    """The new pieces, remembered; white space before the first word is dropped."""
    for piece in new:
        if not pieces:
            piece = Piece(piece.text.lstrip(), piece.citation)
        if piece.text:
            pieces.append(piece)
            yield piece
