"""Answers made of the documents' own sentences: nothing is generated, so nothing can be made up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event

from korean_llm.answering.abstain import is_answered
from korean_llm.answering.answer import Answerer, Citation, Mode, Piece, Request
from korean_llm.answering.asked import is_small_talk
from korean_llm.answering.cite import nearest_documents, verified, without_marks
from korean_llm.answering.course import Course
from korean_llm.answering.evidence import Sentence
from korean_llm.retrieval import Index

MAX_SENTENCES = 3
MARGIN = 2.0
"""A sentence is added while it is at most e to the power of this times less likely than the best one."""

NUM_NEAREST = 3
NOT_FOUND = "물으신 내용을 이 문서들에서 찾지 못했습니다."
SMALL_TALK = "안녕하세요! 문서에서 알고 싶은 것을 물어보시면 찾아서 답해 드릴게요."


class ExtractiveAnswerer(Answerer):
    """One to three sentences of the best passages, each with its citation."""

    mode: Mode = "extractive"

    def __init__(self, index: Index, notice: str) -> None:
        self.index, self.notice = index, notice

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """One piece per sentence and per mark; the last carries the whole answer."""
        course = Course(asked, self.index, self.mode, self.notice)
        if not is_answered(self.index, course.evidence):
            yield from not_found(self.index, course)
            return
        citations = self._citations(course.evidence.sentences)
        for citation in citations:
            if stop is not None and stop.is_set():
                break
            yield from course.say(_spoken(citation, first=not course.pieces))
        shown = sum(piece.citation is not None for piece in course.pieces)
        yield course.end(stopped=shown < len(citations))

    def _citations(self, sentences: Sequence[Sentence]) -> list[Citation]:
        found = (
            verified(self.index, number, sentence.hit.document_id, sentence.start, sentence.end, sentence.text)
            for number, sentence in enumerate(choose(sentences), start=1)
        )
        return [citation for citation in found if citation is not None]


def choose(sentences: Sequence[Sentence]) -> list[Sentence]:
    """The best sentence and up to two more of the same passage, in its order.

    Sentences from all over the document begin with its introduction: on the shipped questions the passage cited first
    was the right one far less often so.
    """
    best = max(sentences, key=lambda sentence: sentence.score, default=None)
    if best is None:
        return []
    near = [sentence for sentence in sentences if sentence.hit == best.hit and sentence.score >= best.score - MARGIN]
    kept = {sentence.text: sentence for sentence in sorted(near, key=lambda sentence: sentence.score)}
    chosen = sorted(kept.values(), key=lambda sentence: -sentence.score)[:MAX_SENTENCES]
    return sorted(chosen, key=lambda sentence: sentence.start)


def _spoken(citation: Citation, *, first: bool) -> Iterator[Piece]:
    """A sentence as it is read, white space folded, and its mark."""
    text = " ".join(without_marks(citation.text).split())
    yield Piece(text if first else f" {text}")
    yield Piece(" ")
    yield Piece(f"[{citation.number}]", citation)


def not_found(index: Index, course: Course) -> Iterator[Piece]:
    """The honest answer where the documents do not say it, with the nearest offered; a friendly one to a greeting."""
    if is_small_talk(course.question):
        yield from course.say([Piece(SMALL_TALK)])
        yield course.end(found=False)
        return
    yield from course.say([Piece(NOT_FOUND)])
    yield course.end(found=False, nearest=nearest_documents(index, course.evidence.hits, NUM_NEAREST))
