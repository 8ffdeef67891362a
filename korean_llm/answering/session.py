"""Readers: what each has asked, with which documents of their own, kept so that a reload or a restart loses nothing."""

from __future__ import annotations

import logging
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Literal

from korean_llm.answering.answer import Answer, Citation, Request, Turn
from korean_llm.answering.feedback import Feedback, Kind, feedback_path
from korean_llm.answering.rewriting.follow_up import may_lean
from korean_llm.answering.rewriting.rewrite import understood
from korean_llm.answering.uploads import Uploads
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import Document

Source = Literal["run", "own", "both"]
"""Which documents are asked: the run's, the reader's, or both together."""

MAX_HISTORY = 4
MAX_SESSIONS = 500
IDLE_S = 6 * 3_600.0

_ID = re.compile(r"[\w-]{20,64}", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass
class Exchange:
    """A question and what came of it. id: the answer's in the feedback file; problem: in place of an answer."""

    question: str
    answer: Answer | None = None
    id: str = ""
    vote: str = ""
    edited: str = ""
    problem: str = ""


class Session:
    """One reader's conversation and documents.

    Attributes:
        id: hard to guess; whoever knows it sees the conversation.
        compared: the answers that stand side by side, by column ("l", "r"); they are no part of the conversation.
        stop: there while an answer is being made; setting it ends the answer.
        closed: True once a new conversation has taken this one's place.
    """

    def __init__(self, id: str, machine: Machine) -> None:
        self.id = id
        self.exchanges: list[Exchange] = []
        self.compared: dict[str, Exchange] = {}
        self.stop: Event | None = None
        self.closed = False
        self.uploads = Uploads(machine)
        self.seen = time.monotonic()

    def history(self, question: str, before: int) -> tuple[Turn, ...]:
        """The last turns before an exchange, oldest first, unanswered ones left out.

        None where the question stands by itself: its answer may then be kept, and a kept one given.
        """
        turns = tuple(
            Turn(one.question, one.edited or one.answer.text)
            for one in self.exchanges[:before]
            if one.answer and one.answer.found
        )[-MAX_HISTORY:]
        return turns if may_lean(question) or understood(Request(question, turns)) else ()

    def index(self, source: Source, run_index: Index) -> Index:
        """The index to ask. Without documents of one's own it is the run's."""
        own = self.uploads.index
        if source == "run" or own is None:
            return run_index
        return own if source == "own" else self.uploads.joined(run_index)

    def exchange(self, number: str) -> Exchange | None:
        """The exchange of a number or column as a page sends it, or None."""
        if number in self.compared:
            return self.compared[number]
        known = number.isascii() and number.isdecimal() and len(number) < 8 and int(number) < len(self.exchanges)
        return self.exchanges[int(number)] if known else None

    def cited(self, value: str) -> Citation | None:
        """The citation that a button's value names ("exchange:kind:number"), or None where there is no such."""
        turn, _, rest = value.partition(":")
        kind, _, number = rest.partition(":")
        exchange = self.exchange(turn)
        if exchange is None or exchange.answer is None or not (number.isascii() and number.isdecimal()):
            return None
        citations = {"c": exchange.answer.citations, "n": exchange.answer.nearest}.get(kind, ())
        return next((citation for citation in citations if citation.number == int(number)), None)

    def document(self, citation: Citation, run_index: Index) -> Document | None:
        """The document of a citation, if it is still there and says what it said."""
        for index in (self.uploads.index, run_index):
            document = index.document(citation.document_id) if index else None
            if document and document.text[citation.start : citation.end] == citation.text:
                return document
        return None


class Sessions:
    """The sessions of a run's demo. What is answered is written to the run's feedback file, if it can be."""

    def __init__(self, run_folder: Path, machine: Machine) -> None:
        """Raises KoreanLLMError where the feedback file is damaged or cannot be written."""
        self._machine = machine
        self._open: dict[str, Session] = {}
        self._opening = Lock()
        self.feedback = Feedback(feedback_path(run_folder))

    def open(self, id: str) -> Session:
        """The session of an id, from memory or from the feedback file; a new one where the id is none of ours."""
        with self._opening:
            if id not in self._open:
                known = self._restored(id) if _ID.fullmatch(id or "") else None
                session = known or Session(secrets.token_urlsafe(24), self._machine)
                self._make_room()
                self._open[session.id] = session
                id = session.id
            self._open[id].seen = time.monotonic()
            return self._open[id]

    def renew(self, session: Session) -> Session:
        """A new conversation of the same reader, who keeps the documents."""
        self.leave(session)
        fresh = self.open("")
        fresh.uploads, session.uploads = session.uploads, fresh.uploads
        session.closed = True
        return fresh

    def remember(self, session: Session, exchange: Exchange, variant: str = "") -> None:
        """Write an answer down; one that cannot be written down is answered all the same."""
        assert exchange.answer is not None
        try:
            exchange.id = self.feedback.remember(exchange.answer, session.id, variant)
            if exchange.answer.stopped:
                self.feedback.record(exchange.id, "abandon")
        except KoreanLLMError:
            _log.exception("an answer was not written down")

    def record(self, exchange: Exchange, kind: Kind, text: str = "") -> bool:
        """Write down what the reader did; whether it was written."""
        if not exchange.id:
            return False
        try:
            self.feedback.record(exchange.id, kind, text)
        except KoreanLLMError:
            _log.exception("feedback was not written down")
            return False
        return True

    def leave(self, session: Session) -> None:
        """The reader has gone: what is being written for nobody ends."""
        if session.stop is not None:
            session.stop.set()

    def close(self) -> None:
        """Remove every reader's documents and close the feedback file."""
        for session in self._open.values():
            session.uploads.clear()
        self._open.clear()
        self.feedback.close()

    def _restored(self, id: str) -> Session | None:
        remembered = [one for one in self.feedback.of(id) if not (one.variant or one.regenerated)]
        if not remembered:
            return None
        session = Session(id, self._machine)
        session.exchanges = [Exchange(r.answer.question, r.answer, r.id, r.vote, r.edited) for r in remembered]
        return session

    def _make_room(self) -> None:
        """Sessions that nobody has used for long go, and the oldest where there are too many."""
        now = time.monotonic()
        by_age = sorted(self._open.values(), key=lambda session: session.seen)
        surplus = len(by_age) - MAX_SESSIONS + 1
        for number, session in enumerate(by_age):
            if number < surplus or now - session.seen > IDLE_S:
                del self._open[session.id]
                session.uploads.clear()
