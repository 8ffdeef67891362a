"""An endpoint through real sockets and the real client: patience, leaving, and where it does not go."""

from __future__ import annotations

import logging
import socket
import threading
import time
from threading import Event

import pytest

from korean_llm.answering.answer import Sampling
from korean_llm.answering.writing.endpoint import BUDGET_CHARS, MAX_BUDGET_CHARS, Endpoint, Patience
from korean_llm.answering.writing.endpoint_address import check_endpoint, check_host
from korean_llm.answering.writing.generate import GREEDY
from korean_llm.errors import KoreanLLMError
from tests.answering.speaker import Server

MESSAGES = [{"role": "user", "content": "도서관은 언제 쉬나요?"}]
SOON = Patience(connect_s=1, read_s=0.4, total_s=5, retries=2, backoff_s=0.01)


def said(endpoint: Endpoint, sampling: Sampling = GREEDY, stop: Event | None = None) -> str:
    return "".join(endpoint.generate(MESSAGES, sampling, stop))


def test_sampling_reaches_the_server(server: Server) -> None:
    server.says = "월요일입니다.\n\n질문: 또"
    endpoint = Endpoint(server.url)
    assert said(endpoint) == server.says
    drawn = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=33, seed=4, stop=("\n\n질문:", "", *"가나라마"))
    assert said(endpoint, drawn) == "월요일입니다."
    plain, asked = server.asked
    assert (plain["temperature"], plain["max_tokens"]) == (0, 512) and not {"seed", "top_p", "stop"} & plain.keys()
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"], asked["seed"]) == (0.7, 0.9, 33, 4)
    assert asked["stop"] == ["\n\n질문:", "가", "나", "라"]
    assert endpoint.name == "first" and len(endpoint.fingerprint) == 64 and endpoint.adapter_fingerprint == ""


@pytest.mark.parametrize(
    ("told", "budget", "new"),
    [
        ({}, BUDGET_CHARS, 512),
        ({"max_model_len": 4_096}, 3_584, 512),
        ({"max_model_len": 800}, 400, 400),
        ({"meta": {"n_ctx": 2_048, "n_ctx_train": 8_192}}, 1_536, 512),
        ({"context_length": 1_000_000}, MAX_BUDGET_CHARS, 512),
        ({"max_model_len": "viel"}, BUDGET_CHARS, 512),
    ],
)
def test_the_context_is_read_where_it_is_told(server: Server, told: dict, budget: int, new: int) -> None:
    server.models = [{"id": "other", "max_model_len": 99}, {"id": "it", **told}]
    endpoint = Endpoint(server.url, "it")
    assert (endpoint.budget, endpoint.max_new_tokens) == (budget, new)


@pytest.mark.parametrize("busy", [[429], [503, 503], [0, 429]])
def test_a_busy_server_is_asked_again_before_its_first_word(server: Server, busy: list[int]) -> None:
    server.says, server.statuses = "왔습니다.", list(busy)
    assert said(Endpoint(server.url, patience=SOON)) == "왔습니다."
    assert len(server.asked) == len(busy) + 1


def test_it_is_not_asked_for_ever(server: Server) -> None:
    server.status = 503
    with pytest.raises(KoreanLLMError, match=r"is too busy \(status 503\)"):
        said(Endpoint(server.url, patience=SOON))
    assert len(server.asked) == 3


def test_it_waits_as_long_as_the_server_says_but_not_longer_than_it_will(server: Server) -> None:
    server.says, server.headers_more = "예.", {"retry-after": "3600"}
    server.statuses = [429]
    start = time.monotonic()
    patience = Patience(connect_s=1, read_s=1, total_s=5, retries=1, backoff_s=9, max_backoff_s=0.2)
    assert said(Endpoint(server.url, patience=patience)) == "예."
    assert 0.2 <= time.monotonic() - start < 2


def test_an_answer_that_breaks_off_is_not_asked_for_again(server: Server) -> None:
    server.says, server.breaks_after = "가나다라마바사", 1
    heard = []
    with pytest.raises(KoreanLLMError, match="cannot be reached"):
        heard.extend(Endpoint(server.url, patience=SOON).generate(MESSAGES))
    assert heard == ["가나다"] and len(server.asked) == 1


def test_silence_and_slowness_end(server: Server) -> None:
    server.says, server.silent_s = "늦었습니다.", 1.0
    with pytest.raises(KoreanLLMError, match="did not answer in time"):
        said(Endpoint(server.url, patience=SOON))
    server.silent_s, server.pause_s, server.says = 0.0, 0.1, "가" * 300
    with pytest.raises(KoreanLLMError, match=r"did not finish its answer within 0\.5 s"):
        said(Endpoint(server.url, patience=Patience(total_s=0.5)))
    assert len(server.asked) == 2


def test_stopping_does_not_wait_for_a_server_that_says_nothing(server: Server) -> None:
    server.says, server.silent_s = "늦었습니다.", 2.0
    stop = Event()
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    assert said(Endpoint(server.url), stop=stop) == ""
    assert time.monotonic() - start < 1


def test_leaving_closes_the_connection_within_a_chunk(server: Server) -> None:
    server.says, server.pause_s = "가나다" * 500, 0.02
    pieces = Endpoint(server.url).generate(MESSAGES)
    assert next(pieces) == "가나다"
    pieces.close()  # type: ignore[attr-defined]
    time.sleep(0.3)
    sent = server.sent
    time.sleep(0.3)
    assert server.sent <= sent + 1 < 100


def test_the_key_is_in_no_error_and_no_log(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-geheim-0815")
    caplog.set_level(logging.DEBUG)
    errors = []
    for status in (400, 401, 404, 500, 503):
        server.status = status
        with pytest.raises(KoreanLLMError) as caught:
            said(Endpoint(server.url, patience=SOON))
        errors.append(f"{caught.value} {caught.value.__cause__}")
    assert server.headers_seen[0]["authorization"] == "Bearer sk-geheim-0815"
    assert "refused the key" in errors[1]
    assert not any("geheim" in text for text in [*errors, caplog.text])


def test_redirects_and_proxies_are_not_followed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Server()
    threading.Thread(target=other.serve_forever, daemon=True).start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{other.server_port}")
    server.says = other.says = "예."
    assert said(Endpoint(server.url, patience=SOON)) == "예."
    server.status, server.headers_more = 307, {"location": f"{other.url}/chat/completions"}
    with pytest.raises(KoreanLLMError, match=r"redirects elsewhere \(status 307\), which is not followed"):
        said(Endpoint(server.url, patience=SOON))
    assert other.asked == []
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://api.example.com/v1", "http://10.0.0.7/v1", "http://[::1]:8080/v1"]
)
def test_good_addresses(url: str) -> None:
    assert check_endpoint(f" {url}/ ") == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com/v1", "is no address"),
        ("file:///etc/passwd", "is no address"),
        ("127.0.0.1:8000", "is no address"),
        ("http://", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http://host:99999/v1", "is no address"),
        ("http://a b/v1", "is no address"),
        ("http://a\\@b/v1", "is no address"),
        ("http://user:geheim@example.com/v1", "user name or password"),
        ("http://geheim@169.254.169.254/v1", "user name or password"),
        ("http://example.com/v1?key=geheim", "query"),
        ("http://example.com/v1#geheim", "query"),
        *((f"http://{host}/v1", "link-local or metadata") for host in (
            "169.254.169.254", "169.254.0.1:80", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
            "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]", "100.100.100.200", "metadata.google.internal", "METADATA.google.internal.",
            "224.0.0.1", "１６９.254.169.254", "169。254。169｡254", "metadata。google．internal",
        )),
    ],
)  # fmt: skip
def test_refused_addresses(url: str, words: str) -> None:
    with pytest.raises(KoreanLLMError, match=words) as caught:
        check_endpoint(url)
    assert "geheim" not in str(caught.value)


def test_a_name_that_leads_to_a_metadata_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def lying(host: object, *rest: object, **more: object) -> object:
        return real("169.254.169.254" if host == "innocent.example" else host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    with pytest.raises(KoreanLLMError, match=r"'innocent\.example' is a link-local"):
        Endpoint("http://innocent.example/v1")
    check_host("localhost")
