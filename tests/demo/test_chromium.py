"""The demo in a real headless Chromium: ask, see the stream, open a citation; nothing leaves loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from korean_llm import artifact
from korean_llm.retrieval import Index
from tests.conftest import make_model, make_tokenizer
from tests.retrieval.conftest import DOCUMENTS

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / ".artifacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
QUESTION = "도서관은 무슨 요일에 쉬나요?"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium fonts-noto-cjk"),
]

# The server runs in a process of its own in which every connection to another machine is written down and refused.
SERVER = """
import socket, sys
real = socket.socket.connect
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else "local"
    if host not in ("127.0.0.1", "localhost", "::1", "local"):
        print("LEAVES", host, file=sys.stderr, flush=True)
        raise OSError("refused by the test")
    return real(self, address)
socket.socket.connect = connect
sys.argv = ["korean-llm", "demo", sys.argv[1], "--port", "0", "--device", "cpu"]
from korean_llm.cli import main
main()
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a small base and a lexical index, finished as the pipeline finishes them."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    tokenizer = make_tokenizer()
    make_model(len(tokenizer)).save_pretrained(folder / "source")
    tokenizer.save_pretrained(folder / "source")
    recipe = "name: small\nbase: ./source\nretrieval: {documents: [prose-ko]}\n"
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    for kind in ("base", "retrieval"):
        identity = {"kind": kind, "settings": {}, "inputs": {}, "seed": 17}
        out = artifact.begin(folder / kind, identity)
        if kind == "base":
            shutil.copytree(folder / "source", out / "model")
        else:
            Index.build(DOCUMENTS, out)
        files = artifact.describe_files(out)
        artifact.finish(folder / kind, artifact.Manifest(kind=kind, settings={}, inputs={}, files=files, seed=17))
    return folder


@pytest.fixture(scope="module")
def server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, file of what the server prints) of the real demo."""
    log = tmp_path_factory.mktemp("log") / "stderr.txt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w", encoding="utf-8") as file:
        command = [sys.executable, "-c", SERVER, str(run_folder)]
        process = subprocess.Popen(command, stderr=file, cwd=ROOT, env=environment)
    address = None
    for _ in range(600):
        found = [word for word in log.read_text(encoding="utf-8").split() if word.startswith("http://")]
        if found or process.poll() is not None:
            address = found[0] if found else None
            break
        time.sleep(0.2)
    assert address, log.read_text(encoding="utf-8")
    yield address, log
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 860), ("phone", 390, 844)])
def test_ask_and_open_the_source(server: tuple[str, Path], name: str, width: int, height: int) -> None:
    from playwright.sync_api import sync_playwright

    address, log = server
    SHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height}, locale="ko-KR")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.wait_for_selector("#question textarea")
        page.fill("#question textarea", QUESTION)
        page.keyboard.press("Enter")
        page.wait_for_selector(".asked >> text=무슨 요일", timeout=30_000)
        page.wait_for_selector(".answer .said", timeout=60_000)
        assert "월요일에 쉽니다" in page.inner_text(".answer .said")
        page.locator("button.cite.mark").first.click()
        page.wait_for_selector("#source mark", timeout=30_000)
        marked = page.inner_text("#source mark")
        page.screenshot(path=str(SHOTS / f"demo-{name}.png"))
        browser.close()
    library = next(row for row in DOCUMENTS if row["id"] == "library")
    assert marked in library["text"] and "월요일" in marked
    outside = [url for url in requests if not url.startswith((address, "data:", "blob:", "ws://127.0.0.1"))]
    assert len(requests) > 3
    assert outside == []
    assert "LEAVES" not in log.read_text(encoding="utf-8")
    assert (SHOTS / f"demo-{name}.png").stat().st_size > 10_000
