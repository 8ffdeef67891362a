"""Answers written by a language model from numbered passages, each claim cited where it stands or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any

from korean_llm.answering.abstain import is_answered
from korean_llm.answering.answer import Answerer, Mode, Piece, Request
from korean_llm.answering.cite import Marks, nearest_documents, passage_citations
from korean_llm.answering.claims import Sources, unsupported
from korean_llm.answering.course import Course
from korean_llm.answering.extractive import NUM_NEAREST, not_found
from korean_llm.answering.prompt import NO_ANSWER, Prompting, build_prompt
from korean_llm.answering.writing.generate import Generator
from korean_llm.chat import Message
from korean_llm.retrieval import Index

UNCITED = "근거를 찾지 못한 답이니 가까운 문서와 견주어 보세요."
PARTLY_CITED = "근거를 찾지 못한 문장이 {count}개 있으니 그 문장은 따로 확인해 보세요."
EMPTY = "모델이 답을 내놓지 않았습니다."


class GenerativeAnswerer(Answerer):
    """A model's answer over the best passages. A mark is kept only where a passage it was given holds the claim."""

    mode: Mode = "generative"

    def __init__(self, index: Index, generator: Generator, notice: str, prompting: Prompting | None = None) -> None:
        """prompting: how many passages and which examples the model is shown."""
        self.index, self.generator, self.notice = index, generator, notice
        self.prompting = prompting or Prompting()

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """Pieces as the model writes them; the last carries the whole answer."""
        course = Course(asked, self.index, self.mode, self.notice, self.generator)
        if not is_answered(self.index, course.evidence):
            yield from not_found(self.index, course)
            return
        passages = passage_citations(self.index, course.evidence.hits[: self.prompting.passages])
        model = self.generator
        messages, given = build_prompt(
            course.evidence.question, passages, model.measure, model.budget, self.prompting.examples
        )
        course.prompt = tuple(messages)
        sources = Sources(self.index, {passage.number: passage for passage in given})
        yield from course.say(self._marked(messages, Marks(sources.cite), course.request, stop))
        stopped = stop is not None and stop.is_set()
        if not course.pieces and not stopped:
            yield from course.say([Piece(EMPTY)])
        yield course.end(stopped=stopped, **self._judged(course))

    def _marked(self, messages: list[Message], marks: Marks, request: Request, stop: Event | None) -> Iterator[Piece]:
        """What the model writes, cut at its marks, until it ends or is stopped."""
        for text in self.generator.generate(messages, request.sampling, stop):
            if stop is not None and stop.is_set():
                break
            yield from marks.feed(text)
        yield from marks.finish()

    def _judged(self, course: Course) -> dict[str, Any]:
        """What the reader has to know about the evidence: sentences without any, and the nearest documents instead."""
        cited = any(piece.citation for piece in course.pieces)
        text = "".join(piece.text for piece in course.pieces)
        if not cited and NO_ANSWER in text:
            return {"found": False, "nearest": self._nearest(course)}
        bare = unsupported(course.pieces)
        if not cited:
            return {"unsupported": bare, "nearest": self._nearest(course), "notice": f"{self.notice} {UNCITED}"}
        notice = f"{self.notice} {PARTLY_CITED.format(count=len(bare))}" if bare else self.notice
        return {"unsupported": bare, "notice": notice}

    def _nearest(self, course: Course) -> Sequence[Any]:
        return nearest_documents(self.index, course.evidence.hits, NUM_NEAREST)
