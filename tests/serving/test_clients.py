"""The command line's server and real clients: the openai package, curl, many at once, ones that leave; and its end."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import AuthenticationError, NotFoundError, OpenAI

from tests.answering.speaker import Server as Speaker
from tests.benchmarks.serving import ask_for
from tests.serving.conftest import ANSWER, KEY, QUESTION, Served, chat, served_by_cli

WRITTEN = "도서관은 월요일에 쉽니다. [1]"


@pytest.fixture(scope="module")
def served(served_run: Path, speaker: Speaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The run, its language model behind an endpoint."""
    speaker.says = WRITTEN
    folder = tmp_path_factory.mktemp("log")
    run = Path(shutil.copytree(served_run, folder / "small"))
    with served_by_cli(run, folder, "--endpoint", speaker.url, "--rate", "200") as server:
        yield server


@pytest.fixture
def client(served: Served) -> OpenAI:
    """OpenAI's own client."""
    return OpenAI(base_url=served.base, api_key=KEY, max_retries=0)


def test_the_openai_client_streams_and_cites(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [
        "small-extractive", "small-generative", "small-agent", "small",
    ]  # fmt: skip
    said = [{"role": "user", "content": QUESTION}]
    for model, text in (("small-extractive", ANSWER), ("small-generative", WRITTEN), ("small", WRITTEN)):
        chunks = list(client.chat.completions.create(model=model, messages=said, stream=True, max_tokens=50))
        shown = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert shown.startswith(text) and chunks[-1].choices[0].finish_reason == "stop"
        if model != "small":
            first = chunks[-1].model_extra["citations"][0]
            assert first["document_id"] == "library" and first["number"] == 1
        whole = client.chat.completions.create(model=model, messages=said)
        assert whole.choices[0].message.content == shown


def test_the_openai_client_reads_our_errors(client: OpenAI, served: Served) -> None:
    with pytest.raises(NotFoundError, match="there is no such model here") as refused:
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "?"}])
    assert refused.value.code == "model_not_found" and len(refused.value.request_id or "") == 16
    with pytest.raises(AuthenticationError, match="a valid key is needed"):
        OpenAI(base_url=served.base, api_key="wrong-key-0123456789", max_retries=0).models.list()


def test_curl_sees_an_answer_grow(served: Served, speaker: Speaker) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    speaker.pause_s = 0.1
    try:
        body = json.dumps(chat(model="small-generative", stream=True))
        line = ["curl", "--no-buffer", "--silent", "--data", "@-", f"{served.base}/chat/completions"]
        line += [part for name, value in served.headers.items() for part in ("--header", f"{name}: {value}")]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as curl:
            assert curl.stdin is not None and curl.stdout is not None
            curl.stdin.write(body.encode())
            curl.stdin.close()
            arrived = [(time.monotonic(), row) for row in curl.stdout if row.strip()]
    finally:
        speaker.pause_s = 0.0
    assert curl.returncode == 0 and arrived[-1][1].strip() == b"data: [DONE]"
    # The endpoint takes its time between pieces, and so do the pieces here: nothing is held back.
    assert arrived[-1][0] - arrived[0][0] > 0.5


def test_a_client_that_leaves_ends_the_model_s_work(served: Served, speaker: Speaker) -> None:
    speaker.says, speaker.pause_s = "천천히 말합니다. " * 100, 0.05
    try:
        for stream in (True, False):
            before = speaker.sent
            connection = socket.create_connection((urlsplit(served.url).hostname, urlsplit(served.url).port))
            body = json.dumps(chat(model="small", stream=stream)).encode()
            head = "".join(f"{name}: {value}\r\n" for name, value in served.headers.items())
            request = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}Content-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(request.encode() + body)
            _wait(lambda before=before: speaker.sent > before + 2)
            connection.close()
            left = speaker.sent
            time.sleep(1.5)
            assert speaker.sent < left + 20 < before + 300  # it would have said over 200 more by then, or by its end
            time.sleep(0.5)
            now = speaker.sent
            time.sleep(0.5)
            assert speaker.sent == now
    finally:
        speaker.says, speaker.pause_s = WRITTEN, 0.0


def test_many_at_once_are_answered(served: Served) -> None:
    """Five seconds of eight users; the long version, and kill -9, are in tests/benchmarks/serving.py."""
    found = ask_for(
        served.base, KEY, "small-extractive", [QUESTION, "배추는 몇 시간 절이나요?"], users=8, every_s=1.0, for_s=5.0
    )
    assert len(found) >= 30 and {outcome.status for outcome in found} == {200}
    assert sorted(outcome.seconds for outcome in found)[int(0.95 * len(found))] < 2.0


def test_the_log_holds_no_question_and_no_key(served: Served) -> None:
    log = served.log.read_text(encoding="utf-8")
    assert "POST /v1/chat/completions 200" in log and "wrong key or none" in log
    for secret in (KEY, "wrong-key", QUESTION, "월요일"):
        assert secret not in log


def test_stopped_it_finishes_what_it_says_and_exits_with_0(served: Served, speaker: Speaker) -> None:
    speaker.says, speaker.pause_s = WRITTEN * 3, 0.1
    place = urlsplit(served.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    body = json.dumps(chat(model="small-generative", stream=True))
    connection.request("POST", "/v1/chat/completions", body, served.headers)
    reply = connection.getresponse()
    assert reply.readline().startswith(b"data: ")
    served.process.send_signal(signal.SIGTERM)
    _wait(lambda: not _accepts(place.hostname or "", place.port or 0))
    rest = reply.read().decode()
    assert rest.rstrip().endswith("data: [DONE]") and '"finish_reason": "stop"' in rest
    assert served.process.wait(20) == 0
    assert "the server has stopped" in served.log.read_text(encoding="utf-8")


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
