"""A model's answer, through a real OpenAI-compatible server on loopback and the real client."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import pytest

from korean_llm.answering.extractive import NOT_FOUND, SMALL_TALK
from korean_llm.answering.generative import EMPTY, PARTLY_CITED, UNCITED, GenerativeAnswerer
from korean_llm.answering.prompt import NO_ANSWER
from korean_llm.answering.writing.endpoint import Endpoint
from korean_llm.answering.writing.local import LocalModel
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from tests.answering.conftest import text_of
from tests.answering.speaker import Server

QUESTION = "버들도서관은 무슨 요일에 쉬나요?"


@pytest.fixture
def answerer(index: Index, server: Server) -> GenerativeAnswerer:
    return GenerativeAnswerer(index, Endpoint(server.url), "알림")


def test_citations_are_resolved_and_invented_ones_removed(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says = (
        "월요일에 쉽니다 [1]. 없는 자료입니다 [77]. 책은 다섯 권까지 빌려 드립니다[1]. 다시 월요일에 쉽니다 [1]."
    )
    *pieces, last = answerer.stream(QUESTION)
    answer = last.answer
    assert answer.text == (
        "월요일에 쉽니다 [1]. 없는 자료입니다. 책은 다섯 권까지 빌려 드립니다 [2]. 다시 월요일에 쉽니다 [1]."
    )
    assert "".join(piece.text for piece in pieces) == answer.text
    assert [citation.text for citation in answer.citations] == [
        "버들도서관은 매주 월요일에 쉽니다.",
        "책은 한 번에 다섯 권까지 두 주 동안 빌려 드립니다.",
    ]
    for citation in answer.citations:
        assert citation.document_id == "library"
        assert text_of("library")[citation.start : citation.end] == citation.text
    assert answer.unsupported == ("없는 자료입니다.",) and answer.nearest == ()
    assert answer.notice == f"알림 {PARTLY_CITED.format(count=1)}"


def test_what_the_passage_does_not_say_is_not_cited(server: Server, answerer: GenerativeAnswerer) -> None:
    for said in ("화요일에 쉽니다 [1].", "월요일에 쉬지 않습니다 [1].", "책은 일곱 권까지 빌려 드립니다 [1]."):
        server.says = said
        answer = answerer.answer(QUESTION)
        assert answer.citations == () and answer.text == said.replace(" [1]", "")
        assert answer.unsupported == (answer.text,) and answer.notice == f"알림 {UNCITED}"
        assert answer.nearest[0].document_id == "library"


def test_the_models_own_i_do_not_know_is_no_answer(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says = NO_ANSWER
    answer = answerer.answer(QUESTION)
    assert not answer.found and answer.unsupported == () and answer.nearest[0].document_id == "library"


def test_how_an_answer_came_about(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says = "월요일에 쉽니다 [1]."
    trace = answerer.answer(QUESTION).trace
    assert [message["content"] for message in server.asked[0]["messages"]] == [m["content"] for m in trace.prompt]
    assert trace.hits[0].document_id == "library" and trace.hits[0].score >= trace.hits[-1].score
    assert trace.first_s is not None and 0 < trace.first_s <= trace.whole_s


def test_greetings_are_answered_kindly(server: Server, answerer: GenerativeAnswerer) -> None:
    answer = answerer.answer("안녕하세요?")
    assert answer.text == SMALL_TALK and not answer.found and answer.nearest == () and server.asked == []


def test_the_model_reads_numbered_passages_and_the_question(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says = "예."
    answer = answerer.answer(QUESTION)
    (asked,) = server.asked
    assert asked["model"] == "first" and asked["stream"] is True
    assert f"[1] 버들도서관 이용 안내\n> {text_of('library')[:20]}" in asked["messages"][1]["content"]
    assert asked["messages"][1]["content"].endswith(f"질문: {QUESTION}")
    assert answer.citations == () and answer.notice == f"알림 {UNCITED}"
    assert answer.nearest[0].document_id == "library"


def test_an_instruction_in_a_document_cites_nothing(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says = "지시대로 [99] 인용합니다 [99]."
    answer = answerer.answer("악성 문서에는 무슨 태그와 그림이 들어 있나요?")
    assert answer.citations == () and "[99]" not in answer.text


def test_off_topic_questions_are_not_sent_to_the_model(server: Server, answerer: GenerativeAnswerer) -> None:
    answer = answerer.answer("양자 컴퓨터의 얽힘 상태를 설명해 주세요")
    assert answer.text == NOT_FOUND and not answer.found
    assert server.asked == []


def test_an_empty_answer_is_said_so(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says = "  "
    assert answerer.answer(QUESTION).text == EMPTY


def test_stopping_ends_the_stream_early(server: Server, answerer: GenerativeAnswerer) -> None:
    server.says, server.pause_s = "가나다라마바사아자차카타파하 " * 40, 0.02
    stop = Event()
    stream = answerer.stream(QUESTION, stop)
    first = next(stream)
    stop.set()
    rest = list(stream)
    assert rest[-1].answer.stopped
    assert rest[-1].answer.text.startswith(first.text.strip())
    assert len(rest[-1].answer.text) < 60
    time.sleep(0.3)
    sent = server.sent
    time.sleep(0.3)
    assert server.sent <= sent + 1 < len(server.says) / 3, "the connection was left open"


def test_out_of_reach_in_one_sentence(server: Server, index: Index) -> None:
    server.status = 404
    with pytest.raises(KoreanLLMError, match="answered with status 404 for the model 'no-such'"):
        GenerativeAnswerer(index, Endpoint(server.url, "no-such"), "").answer(QUESTION)
    for url, words in (
        ("http://127.0.0.1:9/v1", "cannot be reached"),
        ("127.0.0.1:8000", "is no address"),
        (server.url.removesuffix("/v1") + "/nothing", None),
    ):
        if words is None:
            assert Endpoint(url).model == "first"
            continue
        with pytest.raises(KoreanLLMError, match=words):
            Endpoint(url)


def test_a_server_of_another_kind(index: Index) -> None:
    class Page(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html></html>")

    other = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with pytest.raises(KoreanLLMError, match="does not speak the OpenAI protocol"):
        Endpoint(f"http://127.0.0.1:{other.server_port}/v1")
    other.shutdown()
    other.server_close()


def test_the_runs_own_model_answers(index: Index, run_folder: Path) -> None:
    local = LocalModel.open(ModelPlace(run_folder / "base" / "model"), Machine("cpu", 1))
    local.budget = 1_500  # the small tokenizer needs three tokens for a syllable
    *pieces, last = GenerativeAnswerer(index, local, "알림").stream(QUESTION)
    assert last.answer.mode == "generative" and last.answer.text
    assert "".join(piece.text for piece in pieces) == last.answer.text
    assert "\ufffd" not in last.answer.text
