"""Answers made of the documents' own sentences."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import pytest

from korean_llm.answering.abstain import features
from korean_llm.answering.answer import Request
from korean_llm.answering.evidence import gather
from korean_llm.answering.extractive import MAX_SENTENCES, NOT_FOUND, ExtractiveAnswerer, choose
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from tests.answering.conftest import DOCUMENTS, text_of
from tests.retrieval.conftest import encoder

__all__ = ["encoder"]

QUESTIONS = [
    ("도서관은 무슨 요일에 쉬나요?", "library", "버들도서관은 매주 월요일에 쉽니다."),
    ("배추는 소금물에 몇 시간 절이나요?", "kimchi", "배추를 소금물에 여섯 시간 절인다."),
    ("일요일 새벽에 계좌 이체가 되나요?", "bank", "계좌 이체를 할 수 없습니다."),
    ("버드나무 가지는 언제 늘어지나요?", "river", "강가의 버드나무는 봄마다"),
]


@pytest.fixture(scope="module")
def answerer(index: Index) -> ExtractiveAnswerer:
    return ExtractiveAnswerer(index, "알림")


@pytest.mark.parametrize(("question", "document_id", "expected"), QUESTIONS)
def test_the_right_sentence_with_its_exact_span(
    answerer: ExtractiveAnswerer, question: str, document_id: str, expected: str
) -> None:
    answer = answerer.answer(question)
    assert answer.found and expected in answer.text
    assert 1 <= len(answer.citations) <= MAX_SENTENCES
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    for citation in answer.citations:
        assert citation.document_id == document_id
        assert text_of(document_id)[citation.start : citation.end] == citation.text
        assert f"[{citation.number}]" in answer.text
    assert [c.start for c in answer.citations] == sorted(c.start for c in answer.citations)


def test_streamed_equals_whole(answerer: ExtractiveAnswerer) -> None:
    for question, *_ in QUESTIONS:
        *pieces, last = answerer.stream(question)
        assert last.answer == answerer.answer(question)
        assert last.text == "" and all(piece.answer is None for piece in pieces)
        assert "".join(piece.text for piece in pieces) == last.answer.text


def test_a_stopped_answer_keeps_what_was_said(answerer: ExtractiveAnswerer) -> None:
    whole = answerer.answer("도서관 책은 몇 권까지 빌리고 잃어버리면 어떻게 하나요?")
    assert len(whole.citations) > 1
    stop = Event()
    stream = answerer.stream(whole.question, stop)
    said = [next(stream).text for _ in range(3)]
    stop.set()
    rest = list(stream)
    answer = rest[-1].answer
    assert answer.stopped and not whole.stopped
    assert answer.text == "".join(said) and whole.text.startswith(answer.text)


def test_nothing_relevant_is_said_so_with_the_nearest_offered(answerer: ExtractiveAnswerer) -> None:
    answer = answerer.answer("양자 컴퓨터의 얽힘 상태를 설명해 주세요")
    assert not answer.found and answer.text == NOT_FOUND and answer.citations == ()
    assert 1 <= len(answer.nearest) <= 3
    for place in answer.nearest:
        assert text_of(place.document_id)[place.start : place.end] == place.text
    assert all(line.startswith("가까운 문서:") for line in answer.source_lines)


def test_how_an_answer_came_about(answerer: ExtractiveAnswerer) -> None:
    trace = answerer.answer(Request(QUESTIONS[0][0])).trace
    assert trace.prompt == () and trace.model == "" and trace.hits[0].document_id == "library"
    assert trace.first_s is not None and 0 < trace.first_s <= trace.whole_s


def test_questions_without_content_words_are_not_answered(answerer: ExtractiveAnswerer) -> None:
    for question in ("?", "그래서요?", "😀", "있나요"):
        assert not answerer.answer(question).found


def test_marks_of_the_document_itself_are_not_shown_as_citations(answerer: ExtractiveAnswerer) -> None:
    answer = answerer.answer("절인 배추는 맑은 물에 몇 번 헹구나요?")
    assert "세 번 헹군다. [" in answer.text
    rinsed = next(citation for citation in answer.citations if "헹군다" in citation.text)
    assert rinsed.text in text_of("kimchi")


def test_bad_questions(answerer: ExtractiveAnswerer) -> None:
    for question, words in (("", "empty"), (" \n", "empty"), ("가" * 100_000, "100,000 characters")):
        with pytest.raises(KoreanLLMError, match=words):
            answerer.answer(question)


def test_as_json(answerer: ExtractiveAnswerer) -> None:
    value = json.loads(json.dumps(answerer.answer(QUESTIONS[0][0]).as_dict(), ensure_ascii=False))
    assert value["mode"] == "extractive" and value["found"] and value["notice"] == "알림"
    assert value["citations"][0]["text"] == "버들도서관은 매주 월요일에 쉽니다."


def test_evidence_is_scored_with_and_without_an_encoder(index: Index, encoder: Path, tmp_path: Path) -> None:
    dense = Index.build(DOCUMENTS, tmp_path / "dense", encoder=encoder, machine=Machine("cpu", 1))
    question = "도서관은 무슨 요일에 쉬나요?"
    scores = []
    for opened in (index, dense):
        evidence = gather(opened, question)
        assert 0 < features(opened, evidence)["document_covered"] <= 1 + 1e-9
        scored = [s for s in evidence.sentences if s.hit.document_id == "library"]
        scores.append({sentence.text: sentence.score for sentence in scored})
        for sentence in scored:
            assert text_of(sentence.hit.document_id)[sentence.start : sentence.end] == sentence.text
    assert scores[0].keys() == scores[1].keys() and len(scores[0]) == 4
    assert scores[0] != scores[1]


def test_choose_keeps_one_document_in_its_own_order(index: Index) -> None:
    chosen = choose(gather(index, "책을 빌리고 잃어버리면 도서관은 무엇을 하나요?").sentences)
    assert len({sentence.hit.document_id for sentence in chosen}) == 1
    assert [sentence.start for sentence in chosen] == sorted(sentence.start for sentence in chosen)
    assert choose([]) == []
