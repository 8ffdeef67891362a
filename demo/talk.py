"""One reader's conversation: what is asked, what is shown meanwhile, and which source a click opens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Event
from typing import Any

from demo.render import (
    NO_SOURCE,
    answer_html,
    problem_html,
    question_html,
    source_html,
    streaming_html,
    waiting_html,
)
from korean_llm.answering.answer import Answer, Citation, Mode, Piece
from korean_llm.answering.library import Library
from korean_llm.errors import KoreanLLMError

Messages = list[dict[str, Any]]

SEARCHING = "문서를 찾는 중"
WRITING = "문서를 찾고 글을 쓰는 중"
OPENING_MODEL = "모델을 여는 중 — 처음 한 번은 시간이 걸립니다"
FAILED = "답변을 만들지 못했습니다."
UNEXPECTED = "예상하지 못한 문제가 생겼습니다. 잠시 뒤에 다시 물어보세요."

_log = logging.getLogger(__name__)


class Conversation:
    """Lives on the server: a click names a place in it and can ask for nothing else.

    No dataclass: gradio takes those for values that it may send to the page.

    Attributes:
        messages: what the chat shows.
        answers: one per turn; None where there was none.
        stop: there while an answer is being made; setting it ends the answer.
        closed: True once a new conversation has taken this one's place.
    """

    def __init__(self) -> None:
        self.messages: Messages = []
        self.answers: list[Answer | None] = []
        self.stop: Event | None = None
        self.closed = False

    def show(self, content: str) -> Messages:
        """Replace what the last turn shows; returns all messages."""
        self.messages[-1] = {"role": "assistant", "content": content}
        return list(self.messages)

    def cited(self, value: str) -> Citation | None:
        """The citation that a button's value names ("turn:kind:number"), or None where there is no such."""
        turn, _, rest = value.partition(":")
        kind, _, number = rest.partition(":")
        if not (value.isascii() and turn.isdecimal() and number.isdecimal() and int(turn) < len(self.answers)):
            return None
        answer = self.answers[int(turn)]
        citations = () if answer is None else answer.citations if kind == "c" else answer.nearest
        return next((citation for citation in citations if citation.number == int(number)), None)


def respond(library: Library, question: str, mode: Mode, talk: Conversation) -> Iterator[Messages]:
    """The messages to show, again after every piece; problems are shown in the place of the answer."""
    turn = len(talk.answers)
    talk.stop = Event()
    talk.answers.append(None)
    talk.messages += [{"role": "user", "content": question_html(question)}, {}]
    try:
        yield talk.show(
            waiting_html(SEARCHING if mode == "extractive" else WRITING if library.ready(mode) else OPENING_MODEL)
        )
        yield from _streamed(library, question, mode, talk, turn)
    except KoreanLLMError as error:
        yield talk.show(problem_html(FAILED, str(error)))
    except Exception:
        _log.exception("the demo could not answer")
        yield talk.show(problem_html(UNEXPECTED))
    finally:
        talk.stop = None


def _streamed(library: Library, question: str, mode: Mode, talk: Conversation, turn: int) -> Iterator[Messages]:
    pieces: list[Piece] = []
    for piece in library.answerer(mode).stream(question, talk.stop):
        if piece.answer is not None:
            talk.answers[turn] = piece.answer
            yield talk.show(answer_html(turn, piece.answer))
        else:
            pieces.append(piece)
            yield talk.show(streaming_html(turn, pieces))


def opened(library: Library, talk: Conversation, value: str) -> str:
    """The source that a button names, or the empty panel."""
    citation = talk.cited(value)
    document = library.index.document(citation.document_id) if citation else None
    return source_html(citation, document) if citation and document else NO_SOURCE
