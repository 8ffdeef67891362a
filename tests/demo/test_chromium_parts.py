"""In a real Chromium: own documents, models, side by side, tokens, report, feedback, keyboard, accessibility."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from korean_llm.answering.feedback import Feedback, feedback_path
from tests.answering.test_models import write_adapter
from tests.answering.test_uploads import FACTS, HOSTILE, KINDS, sent
from tests.demo.conftest import CHROMIUM_IS_HERE, SHOTS, SIZES, Demo, Visit, started
from tests.demo.run import write_whole_run
from tests.hub.stand_in import StandIn

pytestmark = CHROMIUM_IS_HERE

QUESTION = "도서관은 무슨 요일에 쉬나요?"
AXE = "axe-core@4.14.1"


@dataclass(frozen=True)
class Place:
    """A demo, its run, and a Hub that it may fetch from."""

    demo: Demo
    run: Path
    hub: StandIn


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One demo for all the tests here."""
    run = write_whole_run(tmp_path_factory.mktemp("runs") / "whole")
    home, hub = tmp_path_factory.mktemp("home"), StandIn()
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(home / "hub"), "HF_HUB_DISABLE_XET": "1"}
    environment["HF_HUB_OFFLINE"] = "0"
    with started(run, home / "log.txt", **environment) as demo:
        yield Place(demo.wait(), run, hub)
    hub.stop()


@pytest.fixture
def visit(open_page: Callable[..., Visit], place: Place) -> Callable[..., Visit]:
    return lambda *size, **more: open_page(place.demo, *size, **more)


def shot(page: Any, name: str) -> None:
    page.wait_for_timeout(250)  # what slides in has arrived
    page.screenshot(path=str(SHOTS / f"demo-{name}.png"))


def answers(page: Any, count: int) -> None:
    """Wait until so many answers are whole."""
    page.wait_for_function(f"document.querySelectorAll('#chat .answer .acts').length === {count}")


def test_own_documents_of_every_kind_and_hostile_ones(visit: Callable[..., Visit], tmp_path: Path) -> None:
    opened = visit()
    page = opened.page
    name = "<img src=x onerror=alert(1)>.txt"
    hostile = {name: data for name, (data, _) in HOSTILE.items() if name != "프로그램.exe"}
    files = sent(tmp_path, {**KINDS, **hostile, name: "별난 이름의 문서입니다.".encode()})
    page.set_input_files("#files input[type=file]", [str(path) for path in files])
    page.wait_for_selector("#uploads .summary:not(:has(progress))")
    rows = {row.split("\n")[0]: row.split("\n")[1] for row in page.locator("#uploads li").all_inner_texts()}
    assert {name for name in KINDS if rows[name].endswith("자")} == set(KINDS)
    assert page.locator("#uploads li.refused").count() == len(hostile)
    assert rows["암호.pdf"].startswith("암호나 배포 제한이") and rows["폭탄.docx"].startswith("너무 큰 파일")
    assert rows["문서.pdf"].startswith("파일 이름의 확장자와") and rows["빈.txt"].startswith("글자가 들어 있지")
    assert page.locator("#uploads img").count() == 0
    assert page.is_visible("#which label.selected:has-text('내 문서')")
    shot(page, "uploads")

    for count, (file, (question, text)) in enumerate(FACTS.items(), start=1):
        opened.ask(question)
        answers(page, count)
        assert text in page.locator("#chat .said").last.inner_text()
        page.locator("#chat .said >> nth=-1").locator("button.cite").first.click()
        page.wait_for_selector(f"#source .where:has-text('{file}')")
        page.keyboard.press("Escape")
    page.get_by_text("함께", exact=True).click()
    opened.ask(QUESTION)
    answers(page, count + 1)
    assert "매주 월요일에 쉽니다" in page.locator("#chat .said").last.inner_text()
    page.click("#clear")
    page.wait_for_selector("#which", state="hidden")


def test_a_model_that_fits_and_one_that_does_not(visit: Callable[..., Visit], place: Place, tmp_path: Path) -> None:
    fits = write_adapter(tmp_path / "fits", Path("someone/base"))
    place.hub.add("someone/fits", {path.name: path.read_bytes() for path in fits.iterdir() if path.is_file()})
    write_adapter(tmp_path / "other", Path("someone/base"), hidden=64)
    page = visit().page

    def pick(choice: str) -> None:
        page.fill("#model input", choice)
        page.keyboard.press("Enter")

    pick(str(tmp_path / "other"))
    page.wait_for_selector("#model-state .refused")
    assert "이 실행의 모델과 맞지 않습니다" in page.inner_text("#model-state")
    shot(page, "model-refused")
    pick("someone/missing")
    page.wait_for_selector("#model-state .refused:has-text('someone/missing')")
    pick("someone/fits")
    page.wait_for_selector("#model-state :is(.ready, .refused:has-text('fits'))")
    assert "쓸 준비가 되었습니다: someone/fits" in page.inner_text("#model-state")
    assert page.is_visible("#mode label.selected:has-text('생성 답변')")
    assert "믿을 수 없습니다" in page.inner_text("#notice")
    page.fill("#question textarea", QUESTION)
    page.press("#question textarea", "Enter")
    answers(page, 1)
    shot(page, "model-answer")


def test_two_models_side_by_side_and_on_a_phone_one_below_the_other(visit: Callable[..., Visit], place: Place) -> None:
    page = visit("phone").page
    page.get_by_role("tab", name="나란히 비교").click()
    page.fill("#compare-question :is(textarea, input)", QUESTION)
    page.press("#compare-question :is(textarea, input)", "Enter")
    page.wait_for_selector("#choices button")
    page.get_by_role("button", name="오른쪽이 낫다").click()
    page.wait_for_selector("#compare-said:has-text('고맙습니다')")
    kept = Feedback(feedback_path(place.run))
    last = [one for one in kept.judged() if one.variant][-2:]
    kept.close()
    assert [(one.variant[0], one.vote) for one in last] == [("l", ""), ("r", "up")]
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        shot(page, f"compare-{size}")
        left, right = (page.locator(f"#answer-{side}").bounding_box() for side in ("left", "right"))
        assert right["x"] > left["x"] + 200 if size == "desktop" else right["y"] > left["y"] + 50
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_feedback_and_conversation_survive_a_reload(visit: Callable[..., Visit], place: Place) -> None:
    opened = visit()
    page = opened.page
    opened.ask(QUESTION)
    answers(page, 1)
    page.locator("#chat .act[value='0:up']").click()
    page.wait_for_selector("#chat .act[value='0:up'][aria-pressed=true]")
    page.locator("#chat .act[value='0:edit']").click()
    page.wait_for_selector("#draft textarea")
    assert "월요일에 쉽니다" in page.input_value("#draft textarea")
    shot(page, "edit")
    page.fill("#draft textarea", "월요일마다 쉽니다. <b>굵게</b>")
    page.click("#save")
    page.wait_for_selector("#chat .said:has-text('월요일마다')")
    page.reload()
    page.wait_for_selector("#chat .act[value='0:up'][aria-pressed=true]")
    assert page.inner_text("#chat .said") == "월요일마다 쉽니다. <b>굵게</b>"
    page.locator("#chat .act[value='0:regenerate']").click()
    page.wait_for_selector("#chat .act[value='0:up'][aria-pressed=false]")
    assert "버들도서관은" in page.inner_text("#chat .said") and page.locator("#chat .asked").count() == 1
    page.click("#again")
    page.wait_for_selector("#chat .example")
    page.reload()
    page.wait_for_selector("#chat .example")
    kept = Feedback(feedback_path(place.run))
    assert any(one.edited.startswith("월요일마다") and one.vote == "up" and one.regenerated for one in kept.judged())
    kept.close()


def test_tokens_of_any_text_and_the_report(visit: Callable[..., Visit]) -> None:
    page = visit("phone").page
    page.get_by_role("tab", name="토큰 보기").click()
    page.fill("#tokens-text textarea", "한글 <b>뷁</b> 👍🏽")
    page.click("#tokens-show")
    page.wait_for_selector("#tokens .chip.shared")
    assert "\ufffd" not in page.inner_text("#tokens")
    assert "뷁" in page.inner_text("#tokens") and page.locator("#tokens .chips b").count() == 0
    shot(page, "tokens-phone")
    page.get_by_role("tab", name="보고서").click()
    page.wait_for_selector("#report iframe")
    frame = page.frame_locator("#report iframe")
    assert frame.locator("h1").inner_text() == "작은 보고서"
    assert page.get_attribute("#report iframe", "sandbox") == "" and page.title() == "문서에 묻기"
    shot(page, "report-phone")
    with page.expect_download() as download:
        page.click("#report-download a")
    assert download.value.suggested_filename == "report.html"


def test_with_the_keyboard_alone(visit: Callable[..., Visit]) -> None:
    page = visit(scheme="dark").page
    assert page.evaluate("document.activeElement.closest('#question') !== null")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    answers(page, 1)

    def reach(selector: str, key: str = "Tab") -> None:
        for _ in range(40):
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            page.keyboard.press(key)
        raise AssertionError(f"{selector} cannot be reached by {key}")

    reach("#chat .said button.cite", "Shift+Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "where the focus is can be seen"
    page.keyboard.press("Enter")
    page.wait_for_selector("#source mark")
    assert page.evaluate("document.activeElement.matches('#source .body')")
    shot(page, "keyboard-dark")
    page.keyboard.press("Escape")
    page.wait_for_selector("#source mark", state="detached")
    assert page.evaluate("document.activeElement.matches('#chat .said button.cite')"), "focus is back where it was"
    reach("#chat .act[value='0:down']")
    page.keyboard.press("Space")
    page.wait_for_selector("#chat .act[value='0:down'][aria-pressed=true]")


def test_in_english_by_the_browsers_locale(visit: Callable[..., Visit]) -> None:
    page = visit(locale="en-US").page
    assert page.inner_text("#top h1") == "Ask the documents"
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "sentences of the documents" in page.inner_text("#notice")
    shot(page, "english")
    page.get_by_role("link", name="한국어").click()
    page.wait_for_selector("#top h1:has-text('문서에 묻기')")
    assert page.evaluate("document.documentElement.lang") == "ko"


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, fetched once; it is no part of the project."""
    script = SHOTS / "axe-core" / "package" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("no axe-core here, and no npm to fetch it with")
        script.parent.parent.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(["npm", "pack", AXE], cwd=script.parent.parent, capture_output=True, timeout=60)
        if fetched.returncode:
            pytest.skip(f"no axe-core here, and `npm pack {AXE}` could not fetch it")
        shutil.unpack_archive(next(script.parent.parent.glob("*.tgz")), script.parent.parent)
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_nothing_above_minor_for_axe(visit: Callable[..., Visit], axe: str, size: str, scheme: str) -> None:
    opened = visit(size, scheme=scheme)
    page = opened.page
    page.evaluate(axe)

    def check(state: str) -> None:
        shot(page, f"{size}-{scheme}-{state}")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        bad = {v["id"]: [n["target"] for n in v["nodes"]][:3] for v in found if v["impact"] not in (None, "minor")}
        assert bad == {}, state

    check("start")
    opened.ask(QUESTION)
    answers(page, 1)
    check("answer")
    page.locator("#chat .said button.cite").first.click()
    page.wait_for_selector("#source mark")
    check("source")
    page.keyboard.press("Escape")
    if size == "phone":
        page.click("#tray-button")
        page.wait_for_selector("#tray.opened")
        check("tray")
        page.keyboard.press("Escape")
    for name in ("나란히 비교", "토큰 보기", "보고서"):
        page.get_by_role("tab", name=name).click()
        check(name.replace(" ", "-"))
