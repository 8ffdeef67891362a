"""A run, served twice: in this process for the routes, by the real command line for real clients."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from korean_llm.machine import Machine
from korean_llm.retrieval.encoder import Encoder
from korean_llm.serving.app import Encoding, Service, application
from korean_llm.serving.guard import Keys
from korean_llm.serving.limits import Gate, Rates
from korean_llm.serving.offer import Settings, opened
from korean_llm.serving.shield import Shield
from tests.answering.conftest import write_run
from tests.answering.speaker import Server as Speaker
from tests.answering.speaker import speaking
from tests.retrieval.conftest import encoder  # noqa: F401 — a fixture

KEY = "0123456789abcdef-key"
QUESTION = "도서관은 무슨 요일에 쉬나요?"
ANSWER = "버들도서관은 매주 월요일에 쉽니다."


@pytest.fixture(scope="session")
def served_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    return write_run(tmp_path_factory.mktemp("served") / "small")


@pytest.fixture(scope="session")
def service(served_run: Path, encoder: Path) -> Iterator[Service]:  # noqa: F811
    """The run, opened, its model in this process; beside its lexical index an encoder with random weights."""
    settings = Settings(served_run, engine="transformers", machine=Machine("cpu", 1), time_limit_s=60)
    with opened(settings) as found:
        found.encoding = Encoding("small-embedding", Encoder(encoder, "q: ", "p: ", Machine("cpu", 1)), Gate(1, 8))
        yield found


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[TestClient]:
    """A client without a key, at a server that needs none."""
    app = Shield(application(service), Keys([]), Rates(0, 0), loopback=True)
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as opened_client:
        yield opened_client


def chat(question: str = QUESTION, model: str = "small-extractive", **more: object) -> dict:
    """A chat request's body."""
    return {"model": model, "messages": [{"role": "user", "content": question}], **more}


@dataclass
class Served:
    """A server of its own process, started by the command line."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    run: Path

    @property
    def base(self) -> str:
        return f"{self.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


@contextmanager
def served_by_cli(run: Path, folder: Path, *options: str) -> Iterator[Served]:
    """`korean-llm serve` until the block ends."""
    log = folder / "serve.log"
    line = [sys.executable, "-m", "korean_llm.cli", "serve", str(run), "--port", "0", "--device", "cpu", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, env={**os.environ, "KOREAN_LLM_KEY": KEY})
    try:
        yield Served(process, _address(process, log), log, run)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"is served at (http://\S+)/v1", log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    """A language model behind an endpoint that says what it is told to."""
    with speaking() as running:
        yield running
