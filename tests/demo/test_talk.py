"""A conversation on the server: what is shown, and what a click may open."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from demo.app import build, free_port
from demo.render import NO_SOURCE
from demo.talk import Conversation, opened, respond
from korean_llm.answering.library import Library
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from tests.answering.conftest import write_run


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(write_run(tmp_path_factory.mktemp("runs") / "small"), Machine("cpu", 1))


def shown(library: Library, question: str, talk: Conversation, mode: str = "extractive") -> list[str]:
    """What stands in the place of the answer, step by step."""
    return [messages[-1]["content"] for messages in respond(library, question, mode, talk)]  # type: ignore[arg-type]


def test_waiting_then_streaming_then_the_answer(library: Library) -> None:
    talk = Conversation()
    steps = shown(library, "도서관은 무슨 요일에 쉬나요?", talk)
    assert "문서를 찾는 중" in steps[0]
    assert "streaming" in steps[1] and "버들도서관은 매주 월요일에 쉽니다." in steps[1]
    assert 'class="sources"' in steps[-1]
    assert [message["role"] for message in talk.messages] == ["user", "assistant"]
    assert talk.stop is None


def test_a_click_opens_only_what_was_cited(library: Library) -> None:
    talk = Conversation()
    shown(library, "도서관은 무슨 요일에 쉬나요?", talk)
    shown(library, "양자 컴퓨터의 얽힘 상태를 설명해 주세요", talk)
    assert "<mark>버들도서관은 매주 월요일에 쉽니다.</mark>" in opened(library, talk, "0:c:1")
    assert "<mark>" in opened(library, talk, "1:n:1")
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
        assert opened(library, talk, value) == NO_SOURCE, value
    assert opened(library, Conversation(), "0:c:1") == NO_SOURCE


def test_problems_stand_in_the_place_of_the_answer(library: Library) -> None:
    talk = Conversation()
    steps = shown(library, "가" * 20_000, talk)
    assert "답변을 만들지 못했습니다." in steps[-1] and "20,000 characters" in steps[-1]
    assert talk.answers == [None] and talk.stop is None
    steps = shown(library, "도서관은 무슨 요일에 쉬나요?", talk, "generative")
    assert "모델을 여는 중" in steps[0]
    assert "leaves no room" in steps[-1], "the small model's context is too short for the prompt"
    assert "1:" not in opened(library, talk, "1:c:1")


def test_every_endpoint_is_private_and_readers_do_not_share(library: Library) -> None:
    page = build(library)
    visible = {dependency["api_visibility"] for dependency in page.config["dependencies"]}
    assert visible == {"private"}
    fresh = deepcopy(Conversation())  # as gradio makes one for every reader
    fresh.messages.append({})
    assert Conversation().messages == []


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
    from demo.style import SOURCE_SCRIPT, STYLE_SHEET

    for path in (SOURCE_SCRIPT, STYLE_SHEET):
        text = Path(path).read_text(encoding="utf-8")
        assert text and "http" not in text and "@import" not in text
