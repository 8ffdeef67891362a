"""Follow-up questions are completed, and questions that stand by themselves are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from korean_llm.answering.answer import Request, Turn
from korean_llm.answering.rewriting.phrases import phrases, with_particle
from korean_llm.answering.rewriting.rewrite import understood
from korean_llm.answering.writing.endpoint import Endpoint
from tests.answering.speaker import Server

CONVERSATIONS = Path(__file__).with_name("conversations.jsonl")
LIBRARY = (Turn("버들도서관은 월요일에 쉬나요?", "네, 월요일에 쉽니다."),)


def right(row: dict) -> bool:
    """Whether every expected term is there, or nothing where the question stands by itself."""
    found = understood(Request(row["question"], tuple(Turn(*turn) for turn in row["history"])))
    if not row["terms"]:
        return found == ""
    return all(term in found for term in row["terms"]) and not any(term in found for term in row["without"])


@pytest.mark.parametrize(("part", "follows"), [("tune", True), ("tune", False), ("held", True), ("held", False)])
def test_conversations(part: str, follows: bool) -> None:
    """The rules were written with one half; the other was looked at once they stood: 38 of 40 right."""
    rows = [json.loads(line) for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if row["part"] == part and bool(row["terms"]) is follows]
    assert len(chosen) >= 16
    wrong = [row["question"] for row in chosen if not right(row)]
    assert len(wrong) <= len(chosen) * 0.1, wrong


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("그럼 화요일은요?", "버들도서관은 화요일에 쉬나요?"),
        ("그럼 하늘도서관은요?", "하늘도서관은 월요일에 쉬나요?"),
        ("거기는 주차가 되나요?", "버들도서관은 주차가 되나요?"),
        ("김치는 어떻게 담그나요?", ""),
        ("", ""),
        ("?", ""),
        ("버들도서관은 월요일에 쉬나요?", ""),
    ],
)
def test_by_rules(question: str, found: str) -> None:
    assert understood(Request(question, LIBRARY)) == found
    assert understood(Request(question)) == ""


def test_phrases_and_particles() -> None:
    found = [(phrase.text, phrase.particle, phrase.kind) for phrase in phrases("서울의 인구는 올해 얼마인가요?")]
    assert found == [("서울의 인구", "는", "name"), ("올해", "", "time")]
    assert [with_particle(word, "은") for word in ("책", "도서관", "나무", "API")] == [
        "책은",
        "도서관은",
        "나무는",
        "API는",
    ]
    assert [with_particle(word, "으로") for word in ("집", "길", "차")] == ["집으로", "길로", "차로"]
    assert phrases("") == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("버들도서관은 화요일에도 쉬나요?", "버들도서관은 화요일에도 쉬나요?"),
        ("고쳐 쓴 질문: “버들도서관은 화요일에도 쉬나요?”\n설명: …", "버들도서관은 화요일에도 쉬나요?"),
        ("버들도서관은 월요일에 쉬나요?", "버들도서관은 화요일에 쉬나요?"),  # lost 화요일
        ("하늘미술관은 화요일에 쉬나요?", "버들도서관은 화요일에 쉬나요?"),  # made up
        ("", "버들도서관은 화요일에 쉬나요?"),
        ("가" * 3_000, "버들도서관은 화요일에 쉬나요?"),
    ],
)
def test_a_models_wording_is_taken_only_where_it_is_faithful(server: Server, said: str, found: str) -> None:
    server.says = said
    assert understood(Request("그럼 화요일은요?", LIBRARY), Endpoint(server.url)) == found
    assert "월요일에 쉽니다" in server.asked[0]["messages"][1]["content"]


def test_the_model_is_not_asked_without_need_and_its_failure_does_no_harm(server: Server) -> None:
    endpoint = Endpoint(server.url)
    assert understood(Request("김치는 어떻게 담그나요?", LIBRARY), endpoint) == ""
    assert understood(Request("그럼 화요일은요?"), endpoint) == ""
    assert server.asked == []
    server.status = 500
    assert understood(Request("그럼 화요일은요?", LIBRARY), endpoint) == "버들도서관은 화요일에 쉬나요?"
