"""The demo in a real headless Chromium: ask, see the stream, open a citation; nothing leaves loopback."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from korean_llm.answering.feedback import Feedback, feedback_path
from tests.answering.conftest import text_of, write_run
from tests.answering.speaker import Server, speaking
from tests.demo.conftest import CHROMIUM_IS_HERE, SHOTS, SIZES, Demo, Visit, started

QUESTION = "도서관은 무슨 요일에 쉬나요?"

pytestmark = CHROMIUM_IS_HERE


@pytest.fixture(scope="module")
def speaker() -> Iterator[Server]:
    """A language model's server on loopback."""
    with speaking() as running:
        yield running


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory, speaker: Server) -> Iterator[tuple[Demo, Demo]]:
    """The demo of a small run alone, and the same with an endpoint; both start at once."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "small")
    logs = tmp_path_factory.mktemp("log")
    with (
        started(folder, logs / "alone.txt") as alone,
        started(folder, logs / "endpoint.txt", "--endpoint", speaker.url) as served,
    ):
        yield alone.wait(), served.wait()


@pytest.fixture
def visit(open_page: Callable[..., Visit], demos: tuple[Demo, Demo]) -> Callable[..., Visit]:
    return lambda *size, endpoint=False, **more: open_page(demos[endpoint], *size, **more)


def check_source(page: Any) -> None:
    """The marked text is the document's text at the place that the panel names, and the document stands around it."""
    title_line = page.text_content("#source .where") or ""
    document_id = title_line.split(" · ")[0]
    start, end = (int(n.replace(",", "")) for n in re.search(r"([\d,]+)–([\d,]+)번째", title_line).groups())
    text = text_of(document_id)
    assert page.text_content("#source mark") == text[start - 1 : end]
    assert page.text_content("#source .body") == text


@pytest.mark.parametrize("size", SIZES)
def test_ask_and_open_every_source(visit: Callable[..., Visit], size: str) -> None:
    opened = visit(size)
    page = opened.page
    page.wait_for_selector("#chat .example")
    page.wait_for_timeout(300)
    page.screenshot(path=str(SHOTS / f"demo-{size}-start.png"))
    assert "모델이 작아서" in page.inner_text("#notice")
    opened.ask(QUESTION)
    page.wait_for_selector("#chat .answer .sources")
    assert {"waiting", "sources"} <= set(page.evaluate("[...window.seen]"))
    assert "버들도서관은 매주 월요일에 쉽니다." in page.inner_text("#chat .said")
    assert page.input_value("#question textarea") == ""
    page.screenshot(path=str(SHOTS / f"demo-{size}-answer.png"))
    marks = page.locator("#chat .said button.cite")
    assert marks.count() >= 1
    for number in range(marks.count()):
        marks.nth(number).click()
        page.wait_for_selector(f'#chat .said button.cite.current[value="0:c:{number + 1}"]')
        check_source(page)
        page.wait_for_timeout(300)  # on a phone the panel slides in
        if number == 0:
            page.screenshot(path=str(SHOTS / f"demo-{size}-source.png"))
        page.keyboard.press("Escape")
        page.wait_for_selector("#source mark", state="detached")
        assert page.locator("#source-side.opened").count() == 0
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0, f"the page is {overflow} pixels too wide"


def test_an_example_a_new_conversation_and_an_empty_question(visit: Callable[..., Visit]) -> None:
    opened = visit(scheme="dark")
    page = opened.page
    page.locator("#chat .example").first.click()
    page.wait_for_selector("#chat .answer .sources")
    assert "여섯 시간" in page.inner_text("#chat .said")
    page.locator("#chat button.title").click()
    page.wait_for_selector("#source mark")
    check_source(page)
    page.screenshot(path=str(SHOTS / "demo-dark.png"))
    page.click("#source .close")
    page.click("#again")
    page.wait_for_selector("#chat .example")
    opened.ask("   ")
    page.wait_for_selector("text=질문을 적어 주세요.")
    assert page.locator("#chat .asked").count() == 0


def test_nothing_found_offers_the_nearest_documents(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.page
    opened.ask("양자 컴퓨터의 얽힘 상태를 설명해 주세요")
    page.wait_for_selector("#chat .unanswered .sources")
    assert "찾지 못했습니다" in page.inner_text("#chat .said")
    page.locator("#chat button.title").first.click()
    page.wait_for_selector("#source mark")
    check_source(page)
    page.screenshot(path=str(SHOTS / "demo-not-found.png"))


def test_markup_in_documents_and_questions_is_text(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.page
    tag, picture = "<img src=http://evil.example/q.png onerror=alert(2)>", "![](http://evil.example/z)"
    question = f"악성 문서에는 무슨 {tag} 태그와 {picture} 그림이?"
    opened.ask(question)
    page.wait_for_selector("#chat .answer .sources")
    assert page.inner_text("#chat .asked") == question
    page.locator("#chat .said button.cite").first.click()
    page.wait_for_selector("#source mark")
    check_source(page)
    assert "<img src=http://evil.example/x.png onerror=alert(1)>" in page.inner_text("#source .body")
    assert page.inner_text("#source h2") == "<b>굵은</b> 제목 *별*"
    assert page.locator("#chat .answer img, #chat .asked img, #source img, #source h2 b").count() == 0
    page.wait_for_timeout(300)


def test_a_generated_answer_streams_cites_stops_and_is_abandoned(
    visit: Callable[..., Visit], speaker: Server, demos: tuple[Demo, Demo]
) -> None:
    opened = visit(endpoint=True)
    page = opened.page
    assert "사실과 다를 수 있습니다" in page.inner_text("#notice")
    speaker.says, speaker.pause_s = "매주 월요일에 쉽니다 [1]. 지어낸 번호입니다 [42].", 0.02
    opened.ask(QUESTION)
    page.wait_for_selector("#chat .answer .sources")
    assert {"waiting", "streaming", "sources"} <= set(page.evaluate("[...window.seen]"))
    assert "".join(page.inner_text("#chat .said").split()) == "매주월요일에쉽니다1.지어낸번호입니다."
    page.locator("#chat .said button.cite").click()
    page.wait_for_selector("#source mark")
    check_source(page)
    page.screenshot(path=str(SHOTS / "demo-generated.png"))

    speaker.says, speaker.pause_s = "끝나지 않는 이야기입니다. " * 200, 0.02
    opened.ask(QUESTION)
    page.wait_for_selector("#chat .streaming")
    page.click("#question .stop-button")
    page.wait_for_selector("#chat .stopped")
    assert len(page.inner_text("#chat .bot-row:last-of-type >> .said")) < 1_000
    page.wait_for_selector("#question .submit-button")
    opened.ask(QUESTION)
    page.wait_for_function("document.querySelectorAll('#chat .streaming').length === 1")
    page.close()  # a reader who leaves: nothing goes on being written for nobody
    log = Feedback(feedback_path(demos[1].run))
    for _ in range(100):
        if log.counts()["abandon"] == 2:
            break
        time.sleep(0.1)
    assert log.counts()["abandon"] == 2 and speaker.sent < 1_200
    log.close()


def test_a_model_out_of_reach_is_one_sentence_in_the_chat(visit: Callable[..., Visit], speaker: Server) -> None:
    opened = visit(endpoint=True)
    page = opened.page
    speaker.status = 503
    opened.ask(QUESTION)
    page.wait_for_selector("#chat .problem")
    assert "답변을 만들지 못했습니다." in page.inner_text("#chat .problem")
    assert "status 503" in page.inner_text("#chat .problem")
    page.screenshot(path=str(SHOTS / "demo-problem.png"))
    speaker.status = 200
    page.get_by_text("발췌 답변").click()
    page.wait_for_selector("#notice .extractive")
    opened.ask(QUESTION)
    page.wait_for_selector("#chat .answer .sources")
