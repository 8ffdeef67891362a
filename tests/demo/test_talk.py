"""A conversation on the server: what is shown, and what a click may open."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from demo.app import free_port
from demo.page import build
from demo.parts import Demo
from demo.source import NO_SOURCE
from demo.style import PAGE_SCRIPT, STYLE_SHEETS
from demo.talk import Wish, choose, drawn, opened, respond, side_by_side
from demo.words import Words
from korean_llm.answering.library import Library
from korean_llm.answering.session import Session, Sessions
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from tests.answering.conftest import write_run

KO = Words("ko")
QUESTION = "도서관은 무슨 요일에 쉬나요?"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(write_run(tmp_path_factory.mktemp("runs") / "small"), Machine("cpu", 1))


@pytest.fixture(scope="module")
def sessions(library: Library) -> Iterator[Sessions]:
    opened = Sessions(library.folder, Machine("cpu", 1))
    yield opened
    opened.close()


@pytest.fixture
def talk(sessions: Sessions) -> Session:
    return sessions.open("")


@pytest.fixture
def shown(library: Library, sessions: Sessions):
    """What stands in the place of the answer, step by step."""

    def ask(question: str, talk: Session, mode: str = "extractive", **more) -> list[str]:
        wish = Wish(mode)  # type: ignore[arg-type]
        return [messages[-1]["content"] for messages in respond(library, sessions, talk, question, wish, KO, **more)]

    return ask


def test_waiting_then_streaming_then_the_answer(shown, talk: Session) -> None:
    steps = shown(QUESTION, talk)
    assert "문서를 찾는 중" in steps[0]
    assert "streaming" in steps[1] and "버들도서관은 매주 월요일에 쉽니다." in steps[1]
    assert 'class="sources"' in steps[-1]
    assert [message["role"] for message in drawn(talk, KO)] == ["user", "assistant"]
    assert drawn(talk, KO)[-1]["content"] == steps[-1]
    assert talk.stop is None and talk.exchanges[0].id


def test_a_click_opens_only_what_was_cited(library: Library, sessions: Sessions, shown, talk: Session) -> None:
    shown(QUESTION, talk)
    shown("양자 컴퓨터의 얽힘 상태를 설명해 주세요", talk)
    assert "<mark>버들도서관은 매주 월요일에 쉽니다.</mark>" in opened(library, talk, "0:c:1", KO)
    assert "<mark>" in opened(library, talk, "1:n:1", KO)
    for value in (
        "",
        "0",
        "0:c:99",
        "9:c:1",
        "-1:c:1",
        "0:c:-1",
        "a:b:c",
        "0:x:1",
        "1:c:1",
        "0:c:1:1",
        "0:c:١",
        "²:c:1",
    ):
        assert opened(library, talk, value, KO) == NO_SOURCE, value
    assert opened(library, sessions.open(secrets.token_urlsafe(24)), "0:c:1", KO) == NO_SOURCE


def test_problems_stand_in_the_place_of_the_answer(library: Library, shown, talk: Session) -> None:
    steps = shown("가" * 20_000, talk)
    assert "답변을 만들지 못했습니다." in steps[-1] and "20,000 characters" in steps[-1]
    assert talk.exchanges[0].answer is None and talk.stop is None
    steps = shown(QUESTION, talk, "generative")
    assert "모델을 여는 중" in steps[0]
    assert "leaves no room" in steps[-1], "the small model's context is too short for the prompt"
    assert opened(library, talk, "1:c:1", KO) == NO_SOURCE


def test_a_second_try_takes_the_place_of_the_first(shown, talk: Session) -> None:
    shown(QUESTION, talk)
    first = talk.exchanges[0]
    shown(QUESTION, talk, instead=first)
    assert len(talk.exchanges) == 1 and talk.exchanges[0] is not first and talk.exchanges[0].id != first.id


def test_a_follow_up_is_understood_and_a_new_subject_stands_by_itself(shown, talk: Session) -> None:
    shown(QUESTION, talk)
    last = shown("거기 몇 시에 닫아요?", talk)[-1]
    assert "이렇게 이해했습니다: " in last and "도서관" in last
    assert "저녁 여섯 시" in last
    assert "이렇게 이해했습니다" not in shown("배추는 몇 시간 절이나요?", talk)[-1]


def test_an_answer_is_kept_within_a_conversation_and_given_afresh(library: Library, sessions: Sessions) -> None:
    keeping, talk = Library(library.folder, Machine("cpu", 1), cache=True), sessions.open("")

    def ask(**more: bool) -> str:
        *_, last = respond(keeping, sessions, talk, QUESTION, Wish(**more), KO)
        return str(last[-1]["content"])

    assert "보관된 답변입니다" not in ask()
    again = ask()
    assert "보관된 답변입니다. 처음 물음: 도서관은 무슨 요일에 쉬나요?" in again and 'value="1:fresh"' in again
    assert "보관된 답변입니다" not in ask(fresh=True)


def test_two_models_side_by_side_and_a_choice_that_is_kept(library: Library, sessions: Sessions, talk: Session) -> None:
    wishes = [Wish(), Wish()]
    *_, last = side_by_side(library, sessions, talk, QUESTION, wishes, KO)
    assert all("매주 월요일에 쉽니다" in column for column in last) and len(last) == 2
    assert 'value="l:c:1"' in last[0] and 'value="r:c:1"' in last[1]
    assert "<mark>" in opened(library, talk, "r:c:1", KO)
    assert talk.exchanges == [], "what stands side by side is no part of the conversation"
    assert choose(sessions, talk, "r")
    votes = {one.variant[0]: one.vote for one in sessions.feedback.of(talk.id)}
    assert votes == {"l": "", "r": "up"}


def test_every_endpoint_is_private(library: Library, sessions: Sessions) -> None:
    for language in ("ko", "en"):
        page = build(Demo(library, sessions, Words(language)))
        assert {dependency["api_visibility"] for dependency in page.config["dependencies"]} == {"private"}


def test_a_port_that_is_taken_is_one_sentence() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(KoreanLLMError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*--port 0"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", 0) > 0
    with pytest.raises(KoreanLLMError, match="cannot listen on"):
        free_port("203.0.113.7", 0)


def test_files_of_the_page_stand_beside_it() -> None:
    assert len(STYLE_SHEETS) >= 5
    for path in (PAGE_SCRIPT, *STYLE_SHEETS):
        text = path.read_text(encoding="utf-8")
        assert text and "http" not in text and "@import" not in text
