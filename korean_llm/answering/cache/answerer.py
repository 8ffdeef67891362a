"""An answerer that gives a kept answer again where the same is asked again, and never where it only looks the same.

Candidates come from three tiers: the same text, the same words, and with an encoder the nearest questions. All but the
first pass the gate (gate.py). A kept answer holds for one content of the index, one model, adapter, prompt and
sampling; its citations are verified again before they are shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from threading import Event
from time import monotonic
from typing import Any

from korean_llm import __version__, kiwi
from korean_llm.answering.answer import Answer, Answerer, Citation, Piece, Request
from korean_llm.answering.cache.frames import frame, prepared
from korean_llm.answering.cache.gate import same_question
from korean_llm.answering.cache.store import Entry, KeptAnswers
from korean_llm.answering.cache.wordings import PASSING
from korean_llm.answering.cite import verified
from korean_llm.answering.record import as_json, from_json
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import checked_question

__all__ = ["CachedAnswerer", "KeptAnswers"]

RULES_VERSION = 1
"""Raised whenever the gate or the words of a frame change; answers kept under other rules are not found."""

MIN_COSINE = 0.85
"""Nearer questions are worth the gate's look; it decides, so that nothing depends on the encoder but recall."""

NUM_NEAR = 5
MAX_CHARS = 500
"""Longer questions are not kept: nobody types one twice."""


class CachedAnswerer(Answerer):
    """Answers of another answerer, kept and given again. A hit has the first question in `Answer.kept_from`.

    Kept is what was found with citations, at temperature 0, whole, and without earlier turns. `Request.fresh` passes
    over what is kept and replaces it.
    """

    def __init__(
        self,
        answerer: Answerer,
        kept: KeptAnswers,
        index: Index,
        model_fingerprint: str = "",
        adapter_fingerprint: str = "",
        prompt_fingerprint: str = "",
    ) -> None:
        """index: the one that the answerer searches. prompt_fingerprint: of instructions, examples and template.

        Pass a fingerprint for all that decides an answer: where one is left out, it counts as unchanged.
        """
        self.answerer, self.kept, self.index = answerer, kept, index
        self.mode, self.notice = answerer.mode, answerer.notice
        self._made_by = [model_fingerprint, adapter_fingerprint, prompt_fingerprint]

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """Pieces of the kept answer, or of a new one, which is kept when it is whole."""
        request = Request.of(asked)
        question = checked_question(request.question)
        if not _can_be_kept(request, question):
            yield from self.answerer.stream(request, stop)
            return
        began, scope = monotonic(), self._scope(request)
        found = self._found(scope, question)
        if found is not None and not request.fresh:
            entry, answer = found
            self.kept.touch(entry)
            yield from _again(answer, question, entry.question, began, stop)
            return
        for piece in self.answerer.stream(request, stop):
            if piece.answer is not None and _worth_keeping(piece.answer):
                if found is not None:
                    self.kept.drop(found[0])
                self._keep(scope, question, piece.answer)
            yield piece

    def _scope(self, request: Request) -> str:
        """What a kept answer holds for, but for the question."""
        made: list[Any] = [__version__, RULES_VERSION, kiwi.version(), self.mode, self.index.fingerprint]
        text = json.dumps([*made, *self._made_by, asdict(request.sampling)], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _found(self, scope: str, question: str) -> tuple[Entry, Answer] | None:
        """The kept answer to this question, if there is one that still stands."""
        for entry in self._candidates(scope, question):
            answer = self._standing(entry)
            if answer is not None:
                return entry, answer
            self.kept.drop(entry)
        return None

    def _candidates(self, scope: str, question: str) -> Iterator[Entry]:
        yield from self.kept.exact(scope, prepared(question))
        seen = set()
        for entry in self.kept.alike(scope, _words(question)):
            seen.add(entry.id)
            if same_question(entry.question, question).same:
                yield entry
        if self.index.dense is not None:
            vector_D = self.index.dense.encoder.query(question)
            for entry in self.kept.near(scope, vector_D, MIN_COSINE, NUM_NEAR):
                if entry.id not in seen and same_question(entry.question, question).same:
                    yield entry

    def _standing(self, entry: Entry) -> Answer | None:
        """The answer of an entry, or None where it is damaged or a citation is not in its document any more."""
        try:
            answer = from_json(entry.answer)
        except (ValueError, KeyError, TypeError):
            return None
        return answer if all(self._stands(place) for place in (*answer.citations, *answer.nearest)) else None

    def _stands(self, place: Citation) -> bool:
        checked = verified(self.index, place.number, place.document_id, place.start, place.end, place.text)
        return checked is not None and checked.title == place.title

    def _keep(self, scope: str, question: str, answer: Answer) -> None:
        vector_D = self.index.dense.encoder.query(question) if self.index.dense is not None else None
        self.kept.keep(scope, prepared(question), _words(question), question, as_json(answer), vector_D)


def _words(question: str) -> str:
    return " ".join(frame(question).words)


def _can_be_kept(request: Request, question: str) -> bool:
    """Whether a question stands by itself, means the same tomorrow, and is answered alike each time."""
    alone = not request.history and request.sampling.temperature == 0 and len(question) <= MAX_CHARS
    return alone and PASSING.isdisjoint(word.lstrip("~") for word in frame(question).words)


def _worth_keeping(answer: Answer) -> bool:
    return (
        answer.found and not answer.stopped and bool(answer.citations) and not (answer.understood or answer.kept_from)
    )


def _again(answer: Answer, question: str, first: str, began: float, stop: Event | None) -> Iterator[Piece]:
    """The pieces of a kept answer until the reader stops, then the whole of what was shown."""
    shown: list[Piece] = []
    first_s = None
    for piece in answer.pieces:
        if stop is not None and stop.is_set():
            break
        first_s = monotonic() - began if first_s is None else first_s
        shown.append(piece)
        yield piece
    stopped = len(shown) < len(answer.pieces)
    numbers = {piece.citation.number for piece in shown if piece.citation}
    yield Piece(
        "",
        answer=replace(
            answer,
            question=question,
            pieces=tuple(shown),
            citations=tuple(citation for citation in answer.citations if citation.number in numbers),
            stopped=stopped,
            kept_from=first,
            trace=replace(answer.trace, first_s=first_s, whole_s=monotonic() - began),
        ),
    )
