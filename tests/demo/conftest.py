"""A demo in a process of its own and a Chromium that visits it; nothing may leave loopback."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}

CHROMIUM_IS_HERE = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium fonts-noto-cjk"),
]

# The server runs in a process of its own in which every connection to another machine is written down and refused.
SERVER = """
import socket, sys
real, look_up = socket.socket.connect, socket.getaddrinfo
def leaves(host):
    if host in (None, "", "127.0.0.1", "localhost", "::1"):
        return False
    print("LEAVES", host, file=sys.stderr, flush=True)
    return True
def connect(self, address):
    if isinstance(address, tuple) and leaves(address[0]):
        raise OSError("refused by the test")
    return real(self, address)
def getaddrinfo(host, *rest, **options):
    if leaves(host.decode() if isinstance(host, bytes) else host):
        raise OSError("refused by the test")
    return look_up(host, *rest, **options)
socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
sys.argv = ["korean-llm", "demo", *sys.argv[1:], "--port", "0", "--device", "cpu"]
from korean_llm.cli import main
main()
"""

# Remembers every state that the chat passes through, however short.
WATCH = """
window.seen = new Set();
new MutationObserver(() => {
  for (const state of ['waiting', 'streaming', 'sources', 'problem', 'stopped'])
    if (document.querySelector(`#chat .${state}`)) window.seen.add(state);
}).observe(document, {childList: true, subtree: true, characterData: true});
"""


@dataclass
class Demo:
    """A demo in a process of its own."""

    process: subprocess.Popen[bytes]
    run: Path
    log: Path
    address: str = ""

    def wait(self) -> Demo:
        """Until it says where it listens."""
        for _ in range(600):
            found = re.search(r"http://\S+", self.log.read_text(encoding="utf-8"))
            if found or self.process.poll() is not None:
                break
            time.sleep(0.2)
        assert found, self.log.read_text(encoding="utf-8")
        self.address = found[0].rstrip("/")
        return self


@dataclass
class Visit:
    """A page in a browser, and every address it asked for."""

    page: Any
    address: str
    requests: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Type a question and send it."""
        self.page.fill("#question textarea", question)
        self.page.keyboard.press("Enter")

    @property
    def outside(self) -> list[str]:
        """Requests that did not go to the demo."""
        inside = (self.address, self.address.replace("http", "ws"), "data:", "blob:")
        return [url for url in self.requests if not url.startswith(inside)]


@contextlib.contextmanager
def started(folder: Path, log: Path, *options: str, **environment: str) -> Iterator[Demo]:
    """The demo of a run; it says where it listens once `wait` returns."""
    with log.open("wb") as file:
        command = [sys.executable, "-c", SERVER, str(folder), *options]
        there = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        process = subprocess.Popen(command, stderr=file, cwd=ROOT, env=there)
    try:
        yield Demo(process, folder, log)
    finally:
        process.terminate()
        assert process.wait(20) == 0, "the demo ends by itself and cleans up behind it"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Open a demo at a size; afterwards nothing may have left loopback, in the page or in the server."""
    SHOTS.mkdir(exist_ok=True)
    visits: list[tuple[Visit, Demo]] = []

    def open_page(demo: Demo, size: str = "desktop", *, scheme: str = "light", locale: str = "ko-KR") -> Visit:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale=locale, color_scheme=scheme, service_workers="block"
        )
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.add_init_script(WATCH)
        opened = Visit(page, demo.address)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("dialog", lambda dialog: opened.requests.append(f"dialog: {dialog.message}"))
        page.on("pageerror", lambda error: opened.requests.append(f"error: {error}"))
        page.goto(demo.address)
        page.wait_for_selector("#question textarea")
        visits.append((opened, demo))
        return opened

    yield open_page
    for opened, demo in visits:
        opened.page.context.close()
        assert len(opened.requests) > 3 and opened.outside == []
        assert "LEAVES" not in demo.log.read_text(encoding="utf-8")
