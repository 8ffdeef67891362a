"""A conversation on the page: what is asked, what is shown meanwhile, and which source a click opens."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from demo.render import Turn, exchange_html, question_html, streaming_html, waiting_html
from demo.source import NO_SOURCE, lost_html, source_html
from demo.words import Words
from korean_llm.answering.answer import Mode, Piece, Request, Sampling
from korean_llm.answering.library import Library
from korean_llm.answering.session import Exchange, Session, Sessions, Source
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.errors import KoreanLLMError

Messages = list[dict[str, Any]]

COLUMNS = ("l", "r")
PAUSE_S = 0.08
"""Between two drawings of an answer that is being written."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """How the reader wants a question answered."""

    mode: Mode = "extractive"
    source: Source = "run"
    model: ModelPlace | None = None
    sampling: Sampling = field(default_factory=Sampling)
    agent: bool = False
    fresh: bool = False


def drawn(session: Session, words: Words) -> Messages:
    """The whole conversation."""
    messages: Messages = []
    for turn, exchange in enumerate(session.exchanges):
        messages.append({"role": "user", "content": question_html(exchange.question)})
        messages.append({"role": "assistant", "content": exchange_html(turn, exchange, words)})
    return messages


def respond(
    library: Library,
    sessions: Sessions,
    session: Session,
    question: str,
    wish: Wish,
    words: Words,
    instead: Exchange | None = None,
) -> Iterator[Messages]:
    """The messages to show, again after every piece; problems are shown in the place of the answer.

    instead: an earlier exchange whose place this one takes.
    """
    if instead in session.exchanges:
        session.exchanges.remove(instead)
    messages = [*drawn(session, words), {"role": "user", "content": question_html(question)}]
    turn, exchange = len(session.exchanges), Exchange(question)
    for content in _written(library, sessions, session, exchange, wish, words):
        yield [*messages, {"role": "assistant", "content": content}]
    session.exchanges.append(exchange)
    if instead is not None and instead.id and exchange.id:
        sessions.record(instead, "regenerate", exchange.id)
    yield [*messages, {"role": "assistant", "content": exchange_html(turn, exchange, words)}]


def _written(
    library: Library, sessions: Sessions, session: Session, exchange: Exchange, wish: Wish, words: Words
) -> Iterator[str]:
    """What stands in the place of an answer while it is being made; then the exchange holds it, or its problem."""
    turn, stop = len(session.exchanges), Event()
    session.stop = stop
    try:
        yield waiting_html(_meanwhile(library, session, wish, words))
        found = _pieces(library, session, turn, exchange.question, wish, stop)
        yield from _streamed(found, turn, exchange, words)
        sessions.remember(session, exchange)
    except KoreanLLMError as error:
        exchange.problem = str(error)
    except Exception:
        _log.exception("the demo could not answer")
        exchange.problem = words("unexpected")
    finally:
        session.stop = None


def _meanwhile(library: Library, session: Session, wish: Wish, words: Words) -> str:
    if wish.mode == "generative" and not library.ready("generative", wish.model):
        return words("opening_model")
    if wish.source == "both" and session.uploads.num_documents:
        return words("joining")
    return words("searching" if wish.mode == "extractive" else "writing")


def _pieces(library: Library, session: Session, turn: int, question: str, wish: Wish, stop: Event) -> Iterator[Piece]:
    index = session.index(wish.source, library.index)
    request = Request(question, session.history(question, turn), wish.sampling, wish.fresh)
    return library.answerer(wish.mode, index, wish.model, agent=wish.agent).stream(request, stop)


def _streamed(found: Iterator[Piece], turn: Turn, exchange: Exchange, words: Words) -> Iterator[str]:
    """The answer so far, not oftener than a page can draw it; at the end the exchange holds the whole."""
    pieces: list[Piece] = []
    drawn_at = 0.0
    for piece in found:
        exchange.answer = piece.answer
        if piece.answer is None:
            pieces.append(piece)
            if time.monotonic() - drawn_at >= PAUSE_S:
                yield streaming_html(turn, pieces, words)
                drawn_at = time.monotonic()


def opened(library: Library, session: Session, value: str, words: Words) -> str:
    """The source that a button names, or nothing."""
    citation = session.cited(value)
    if citation is None:
        return NO_SOURCE
    document = session.document(citation, library.index)
    return source_html(citation, document, words) if document else lost_html(citation, words)


def side_by_side(
    library: Library, sessions: Sessions, session: Session, question: str, wishes: list[Wish], words: Words
) -> Iterator[list[str]]:
    """One question to two models, one after the other: what stands in each column, again after every piece."""
    stop = session.stop = Event()
    session.compared = {column: Exchange(question) for column in COLUMNS}
    shown = [waiting_html(words("waiting_turn"))] * len(COLUMNS)
    try:
        for at, (column, wish) in enumerate(zip(COLUMNS, wishes, strict=True)):
            shown[at] = waiting_html(_meanwhile(library, session, wish, words))
            yield list(shown)
            for shown[at] in _column(library, session, column, wish, stop, words):
                yield list(shown)
            if session.compared[column].answer is not None:
                sessions.remember(session, session.compared[column], _variant(wish, column))
    finally:
        session.stop = None


def choose(sessions: Sessions, session: Session, choice: str) -> bool:
    """Write down which column the reader finds better ("l", "r", or "" for neither); whether it was written."""
    votes = [
        sessions.record(exchange, "up" if column == choice else "none") for column, exchange in session.compared.items()
    ]
    return len(votes) == len(COLUMNS) and all(votes)


def _column(library: Library, session: Session, column: str, wish: Wish, stop: Event, words: Words) -> Iterator[str]:
    exchange = session.compared[column]
    try:
        found = _pieces(library, session, 0, exchange.question, wish, stop)
        yield from _streamed(found, column, exchange, words)
    except KoreanLLMError as error:
        exchange.problem = str(error)
    except Exception:
        _log.exception("the demo could not compare")
        exchange.problem = words("unexpected")
    yield exchange_html(column, exchange, words)


def _variant(wish: Wish, column: str) -> str:
    """What tells two answers apart in the feedback: the column and the model's folder."""
    place = wish.model.adapter or wish.model.model if wish.model else None
    return f"{column}:{place.parent.name if place else 'served'}"
