"""Answers made of the documents' own sentences: nothing is generated, so nothing can be made up."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from korean_llm.answering.answer import Answer, Answerer, Citation, Mode, Piece, Request
from korean_llm.answering.cite import nearest_documents, verified, without_marks
from korean_llm.answering.evidence import Evidence, Sentence, gather, score_sentences
from korean_llm.retrieval import Index

MAX_SENTENCES = 3
MARGIN = 3.0
"""A sentence is added while its score is at most this many standard deviations below the best one's."""

NUM_NEAREST = 3
NOT_FOUND = "물으신 내용을 이 문서들에서 찾지 못했습니다."


class ExtractiveAnswerer(Answerer):
    """One to three sentences of the best passages, each with its citation."""

    mode: Mode = "extractive"

    def __init__(self, index: Index, notice: str) -> None:
        self.index, self.notice = index, notice

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """One piece per sentence and per mark; the last carries the whole answer."""
        evidence = gather(self.index, Request.of(asked).question)
        if not evidence.relevant:
            yield from not_found(self.index, evidence, self.mode, self.notice)
            return
        pieces: list[Piece] = []
        citations = self._citations(evidence)
        for citation in citations:
            if stop is not None and stop.is_set():
                break
            for piece in _spoken(citation, first=not pieces):
                pieces.append(piece)
                yield piece
        shown = tuple(piece.citation for piece in pieces if piece.citation)
        stopped = len(shown) < len(citations)
        yield Piece("", answer=_answer(self, evidence, pieces, shown, stopped))

    def _citations(self, evidence: Evidence) -> list[Citation]:
        chosen = choose(score_sentences(self.index, evidence))
        found = (
            verified(self.index, number, sentence.hit.document_id, sentence.start, sentence.end, sentence.text)
            for number, sentence in enumerate(chosen, start=1)
        )
        return [citation for citation in found if citation is not None]


def _answer(
    answerer: ExtractiveAnswerer, evidence: Evidence, pieces: list[Piece], shown: tuple[Citation, ...], stopped: bool
) -> Answer:
    return Answer(
        question=evidence.question,
        mode=answerer.mode,
        pieces=tuple(pieces),
        citations=shown,
        notice=answerer.notice,
        stopped=stopped,
    )


def choose(sentences: list[Sentence]) -> list[Sentence]:
    """The best sentence and up to two more of the same document, in the order of the document.

    Sentences of a second document, mixed in by score, answered no more questions and read worse.
    """
    best = max(sentences, key=lambda sentence: sentence.score, default=None)
    if best is None:
        return []
    near = [
        sentence
        for sentence in sentences
        if sentence.hit.document_id == best.hit.document_id and sentence.score >= best.score - MARGIN
    ]
    kept = {sentence.text: sentence for sentence in sorted(near, key=lambda sentence: sentence.score)}
    chosen = sorted(kept.values(), key=lambda sentence: -sentence.score)[:MAX_SENTENCES]
    return sorted(chosen, key=lambda sentence: sentence.start)


def _spoken(citation: Citation, *, first: bool) -> Iterator[Piece]:
    """A sentence as it is read, white space folded, and its mark."""
    text = " ".join(without_marks(citation.text).split())
    yield Piece(text if first else f" {text}")
    yield Piece(" ")
    yield Piece(f"[{citation.number}]", citation)


def not_found(index: Index, evidence: Evidence, mode: Mode, notice: str) -> Iterator[Piece]:
    """The honest answer where the documents are about something else, with the nearest ones offered."""
    nearest = nearest_documents(index, evidence.hits, NUM_NEAREST)
    text = Piece(NOT_FOUND)
    yield text
    answer = Answer(
        question=evidence.question,
        mode=mode,
        pieces=(text,),
        citations=(),
        found=False,
        nearest=nearest,
        notice=notice,
    )
    yield Piece("", answer=answer)
