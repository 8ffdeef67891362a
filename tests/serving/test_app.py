"""The routes over a real run, in this process: shapes, extensions, refusals, and what the log never holds."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from korean_llm.answering.answer import Turn
from korean_llm.serving.app import Service, application
from korean_llm.serving.guard import Keys
from korean_llm.serving.limits import Gate, Rates
from korean_llm.serving.schema import ChatBody
from korean_llm.serving.shield import Shield
from tests.answering.conftest import text_of
from tests.serving.conftest import ANSWER, KEY, QUESTION, chat

HOSTILE_PATHS = [
    "/../../etc/passwd",
    "/v1/../../recipe.yaml",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/models/..%2f..%2frecipe.yaml",
    "//etc/passwd",
    "/recipe.yaml",
    "/static/../recipe.yaml",
    "/docs",
    "/openapi.json",
    "/v1",
]


def events(text: str) -> list[dict]:
    """The values of an event stream, which ends with [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_cited_answer(client: TestClient) -> None:
    value = client.post("/v1/chat/completions", json=chat()).json()
    [choice] = value["choices"]
    assert value["object"] == "chat.completion" and value["model"] == "small-extractive"
    said = choice["message"].pop("content")
    assert choice["message"] == {"role": "assistant", "refusal": None} and said.startswith(f"{ANSWER} [1]")
    assert choice["finish_reason"] == "stop"
    assert value["usage"]["total_tokens"] == value["usage"]["prompt_tokens"] + value["usage"]["completion_tokens"] > 10
    assert [citation["number"] for citation in value["citations"]] == list(range(1, 1 + len(value["citations"])))
    for citation in value["citations"]:
        assert text_of(citation["document_id"])[citation["start"] : citation["end"]] == citation["text"]
        assert citation["title"] == "버들도서관 이용 안내" and "page" in citation
    assert value["citations"][0]["text"] == ANSWER
    assert value["found"] is True and value["steps"] == [] and value["notice"]


def test_the_stream_says_the_same(client: TestClient) -> None:
    whole = client.post("/v1/chat/completions", json=chat()).json()
    reply = client.post("/v1/chat/completions", json=chat(stream=True, stream_options={"include_usage": True}))
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, last, usage = events(reply.text)
    assert {chunk["object"] for chunk in [*chunks, last, usage]} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in [*chunks, last, usage]}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk["citation"] for chunk in chunks if "citation" in chunk] == whole["citations"] == last["citations"]
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == [] and usage["usage"] == whole["usage"]
    assert len(events(client.post("/v1/chat/completions", json=chat(stream=True)).text)) == len(chunks) + 1


def test_what_is_not_in_the_documents(client: TestClient) -> None:
    value = client.post("/v1/chat/completions", json=chat("양자컴퓨터의 오류 정정 부호를 설명해 주세요")).json()
    assert value["found"] is False and value["citations"] == [] and value["nearest"]


def test_the_plain_model_and_its_sampling(client: TestClient) -> None:
    asked = chat("안녕", "small", max_tokens=5, temperature=1.0, seed=3)
    first, again = (client.post("/v1/chat/completions", json=asked).json() for _ in range(2))
    assert first["choices"][0]["message"] == again["choices"][0]["message"]
    assert first["choices"][0]["finish_reason"] == "length" and "citations" not in first
    assert events(client.post("/v1/chat/completions", json={**asked, "stream": True}).text)
    long = client.post("/v1/chat/completions", json=chat("가" * 2_000, "small"))
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    # This model is too small for a passage beside the question: the question is refused, the engine is not blamed.
    short = client.post("/v1/chat/completions", json=chat(model="small-generative"))
    assert (short.status_code, short.json()["error"]["code"]) == (400, "invalid_question")


def test_models(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert [row["id"] for row in listed["data"]] == [
        "small-extractive",
        "small-generative",
        "small-agent",
        "small",
        "small-embedding",
    ]


def test_embeddings_in_both_formats_and_with_either_prefix(client: TestClient, service: Service) -> None:
    def embed(**body: object) -> list:
        value = client.post("/v1/embeddings", json={"model": "small-embedding", **body}).json()
        assert value["usage"]["prompt_tokens"] == value["usage"]["total_tokens"] > 0
        assert [row["index"] for row in value["data"]] == list(range(len(value["data"])))
        return [row["embedding"] for row in value["data"]]

    texts = ["월요일에 쉽니다", "배추를 절인다"] * 20
    vectors_MD = np.array(embed(input=texts), dtype=np.float32)
    assert vectors_MD.shape == (40, 32) and np.allclose(np.linalg.norm(vectors_MD, axis=1), 1, atol=1e-5)
    decoded = [np.frombuffer(base64.b64decode(text), "<f4") for text in embed(input=texts, encoding_format="base64")]
    assert np.array_equal(np.array(decoded), vectors_MD)
    encoder = service.encoding.encoder
    assert np.allclose(embed(input=texts[0])[0], encoder.query(texts[0]), atol=1e-6)
    assert np.allclose(embed(input=texts[:1], input_type="passage")[0], encoder.passages(texts[:1])[0], atol=1e-6)
    assert embed(input=texts[0], dimensions=32)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("chat/completions", chat(model="gpt-5"), 404, "model"),
        ("chat/completions", chat("   "), 400, "messages"),
        ("chat/completions", chat("가" * 10_001), 400, "messages"),
        ("chat/completions", {"model": "small"}, 400, "messages"),
        ("chat/completions", chat(temperature=9), 400, "temperature"),
        ("chat/completions", chat(max_tokens=0), 400, "max_tokens"),
        ("chat/completions", chat(stop=["a"] * 5), 400, "stop"),
        ("chat/completions", chat(n=2), 400, None),
        ("chat/completions", chat(tools=[{"type": "function"}]), 400, None),
        ("chat/completions", {**chat(), "messages": [{"role": "assistant", "content": "네"}]}, 400, "messages"),
        ("chat/completions", {**chat(), "messages": [{"role": "tool", "content": "네"}]}, 400, "messages.0.role"),
        ("embeddings", {"model": "small-embedding", "input": []}, 400, "input"),
        ("embeddings", {"model": "small-embedding", "input": " "}, 400, "input"),
        ("embeddings", {"model": "small-embedding", "input": "가", "dimensions": 8}, 400, "dimensions"),
        ("embeddings", {"model": "small", "input": "가"}, 404, "model"),
        ("feedback", {"answer_id": "no-such-answer", "kind": "up"}, 400, None),
        ("feedback", {"answer_id": "x", "kind": "love"}, 400, "kind"),
        ("chat/completions", [], 400, None),
    ],
)  # fmt: skip
def test_refusals_are_error_objects(
    client: TestClient, path: str, body: object, status: int, param: str | None
) -> None:
    reply = client.post(f"/v1/{path}", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert error.keys() == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert "가가" not in error["message"] and "Traceback" not in reply.text


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b'{"model": "\\ud800", "messages": []}', b"[" * 100_000])
def test_what_is_no_json(client: TestClient, raw: bytes) -> None:
    reply = client.post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    assert reply.status_code == 400 and reply.json()["error"]["type"] == "invalid_request_error"


def test_bodies_are_bounded_and_typed(client: TestClient) -> None:
    large = client.post("/v1/chat/completions", json=chat("가" * 500_000))
    assert (large.status_code, large.headers["connection"]) == (413, "close")
    json_type = {"content-type": "application/json"}
    drip = client.post("/v1/chat/completions", content=(b" " * 10_000 for _ in range(200)), headers=json_type)
    assert drip.status_code == 413
    for kind in ("text/plain", "multipart/form-data", ""):  # what a page of another site may send without asking
        reply = client.post("/v1/chat/completions", content=json.dumps(chat()), headers={"content-type": kind})
        assert reply.status_code == 415


def test_no_path_leads_to_a_file(client: TestClient) -> None:
    for path in HOSTILE_PATHS:
        reply = client.get(path)
        assert reply.status_code == 404 and reply.json()["error"]["code"] == "not_found", path
    assert client.get("/v1/chat/completions").status_code == 405
    assert client.options("/v1/models", headers={"origin": "http://evil.example"}).status_code == 405
    seen = client.get("/v1/models", headers={"origin": "http://evil.example"})
    assert not any(name.startswith("access-control") for name in seen.headers)


def test_history_reaches_the_answer_and_system_messages_the_model() -> None:
    parts = [{"type": "text", "text": "일요일은요?"}]
    messages = [
        {"role": "system", "content": "짧게"},
        {"role": "user", "content": "도서관은 언제 열어요?"},
        {"role": "assistant", "content": "아홉 시요."},
        {"role": "user", "content": parts},
    ]
    body = ChatBody.model_validate({"model": "small", "messages": messages, "stop": "끝", "max_completion_tokens": 7})
    assert body.request.question == "일요일은요?"
    assert body.request.history == (Turn("도서관은 언제 열어요?", "아홉 시요."),)
    sampling = body.request.sampling
    assert (sampling.stop, sampling.max_new_tokens, sampling.temperature) == (("끝",), 7, 0)
    assert body.conversation[0] == messages[0] and body.conversation[-1]["content"] == "일요일은요?"


def test_feedback_is_kept(client: TestClient, service: Service) -> None:
    answer = client.post("/v1/chat/completions", json=chat(user="reader-7")).json()
    told = client.post("/v1/feedback", json={"answer_id": answer["answer_id"], "kind": "down"})
    assert told.status_code == 200 and told.json()["answer_id"] == answer["answer_id"]
    edited = {"answer_id": answer["answer_id"], "kind": "edit", "text": "월요일에 쉬어요."}
    assert client.post("/v1/feedback", json=edited).status_code == 200
    [kept] = service.feedback.of("reader-7")
    assert (kept.vote, kept.edited, kept.answer.question) == ("down", "월요일에 쉬어요.", QUESTION)


def test_health(client: TestClient, service: Service) -> None:
    assert client.get("/healthz").json() == {"live": True, "ready": True}
    service.stopping = True
    try:
        reply = client.get("/healthz")
        assert (reply.status_code, reply.json()) == (503, {"live": True, "ready": False})
        refused = client.post("/v1/chat/completions", json=chat())
        assert refused.status_code == 503 and refused.headers["retry-after"] == "2"
    finally:
        service.stopping = False


def test_keys_rates_and_hosts(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    app = Shield(application(service), Keys([KEY]), Rates(0.001, 3), loopback=True)
    client = TestClient(app, base_url="http://localhost:8000")
    with caplog.at_level(logging.INFO, "korean_llm.serving"):
        wrong = client.get("/v1/models?key=query-secret", headers={"authorization": "Bearer a-wrong-key-0123456789"})
        assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/healthz").status_code == 200
        right = {"authorization": f"Bearer {KEY}"}
        statuses = [client.post("/v1/chat/completions", json=chat(), headers=right).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        late = client.get("/v1/models", headers=right)
        assert late.json()["error"]["code"] == "rate_limit_exceeded" and int(late.headers["retry-after"]) > 100
        assert [client.get("/v1/models").status_code for _ in range(3)] == [
            401,
            401,
            429,
        ]  # an address has a bucket too
        rebound = client.get("/v1/models", headers={**right, "host": "evil.example:8000"})
        assert (rebound.status_code, rebound.json()["error"]["code"]) == (403, "wrong_host")
        assert len(rebound.headers["x-request-id"]) == 16
    assert (
        "wrong key or none" in caplog.text and " 401 " in caplog.text and rebound.headers["x-request-id"] in caplog.text
    )
    for secret in (KEY, "a-wrong-key", "query-secret", QUESTION, "월요일", "evil.example"):
        assert secret not in caplog.text


def test_a_failure_of_ours_shows_no_traceback(
    service: Service, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def record(self, *_: object) -> None:
            raise ZeroDivisionError("a question's text")

    kept, service.feedback = service.feedback, Broken()  # type: ignore[assignment]
    try:
        reply = client.post("/v1/feedback", json={"answer_id": "x", "kind": "up"})
    finally:
        service.feedback = kept
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert "ZeroDivisionError" in caplog.text and "a question's text" not in caplog.text + reply.text


def test_more_than_the_line_holds_is_told_that_the_server_is_busy(service: Service, client: TestClient) -> None:
    speaker, asked = service.speakers[0], []
    held = threading.Event()

    def slow(*arguments: object) -> object:
        held.wait(20)
        return speaker.speak(*arguments)  # type: ignore[arg-type]

    tight = type(speaker)(speaker.id, Gate(slots=1, line=1), slow)  # type: ignore[arg-type]
    service.speakers[0] = tight
    try:
        threads = [
            threading.Thread(target=lambda: asked.append(client.post("/v1/chat/completions", json=chat()).status_code))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 10
        while len(asked) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert asked == [503, 503]
        held.set()
        for thread in threads:
            thread.join()
        assert sorted(asked) == [200, 200, 503, 503]
    finally:
        held.set()
        service.speakers[0] = speaker
