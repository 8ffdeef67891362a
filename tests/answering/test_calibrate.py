"""When to say "not found": the model, its fit, where it is kept, and what happens to a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from korean_llm import artifact
from korean_llm.answering import calibrate
from korean_llm.answering.abstain import calibration_of, calibration_place, features, is_answered
from korean_llm.answering.asked import asked_kind, is_small_talk
from korean_llm.answering.evidence import gather
from korean_llm.answering.extractive import NOT_FOUND, SMALL_TALK, ExtractiveAnswerer
from korean_llm.cli import app
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from tests.answering.conftest import DOCUMENTS
from tests.retrieval.conftest import encoder

__all__ = ["encoder"]

WORDS = (
    "배추",
    "소금물",
    "도서관",
    "책",
    "계좌 이체",
    "전산 점검",
    "버드나무",
    "물수제비",
    "양념",
    "카드 결제",
    "월요일",
)
FOREIGN = ("양자 컴퓨터", "비트코인", "축구", "화산", "치과", "여권", "기타 줄", "낙타", "위성", "우표", "스키장")
ASKED = [f"{word} {tail}" for word in WORDS for tail in ("이야기가 있나요?", "설명해 주세요.", "궁금해요.")]
OTHERS = [f"{word} {tail}" for word in FOREIGN for tail in ("이야기가 있나요?", "설명해 주세요.", "궁금해요.")]


@pytest.fixture
def own(tmp_path: Path) -> Index:
    return Index.build(DOCUMENTS, tmp_path / "index")


def test_the_fit_is_that_of_a_peer() -> None:
    dice = np.random.default_rng(17)
    values = dice.normal(size=(80, 4))
    labels = (values @ [1.0, -2.0, 0.5, 0.0] + dice.normal(size=80) > 0.7).astype(float)
    weights, bias = calibrate.logistic(values, labels, 0.05)
    share = labels.mean()
    each = np.where(labels == 1, 0.5 / share, 0.5 / (1 - share)) / len(labels)
    peer = LogisticRegression(C=1 / 0.05, tol=1e-10, max_iter=10_000).fit(values, labels, sample_weight=each)
    assert np.allclose(weights, peer.coef_[0], atol=1e-4) and np.isclose(bias, peer.intercept_[0], atol=1e-4)


def test_an_index_is_calibrated_with_questions_of_its_own(own: Index) -> None:
    before = calibration_of(own)
    report = calibrate.calibrate(own, ASKED, OTHERS)
    assert report["kind"] == "lexical" and report["held_out"]["refused"] >= 0.9 <= report["held_out"]["answered"]
    assert calibration_place(own).parent == own.folder
    after = calibration_of(own)
    assert after != before and after.model.keys() == before.model.keys()
    held = [text for text in ASKED if calibrate.held_out(text)]
    shares = np.mean([is_answered(own, gather(own, text)) for text in held])
    assert shares == pytest.approx(report["held_out"]["answered"])
    assert Index.open(own.folder).state == own.state, "an index with a calibration opens as before"


def test_a_damaged_calibration_is_said_so(own: Index) -> None:
    for content in ("{", "[]", '{"lexical": {}}'):
        calibration_place(own).write_text(content, encoding="utf-8")
        with pytest.raises(KoreanLLMError, match="is damaged; delete it"):
            ExtractiveAnswerer(own, "").answer("배추는 몇 시간 절이나요?")


def test_a_calibration_of_another_version_is_said_so(own: Index) -> None:
    calibrate.calibrate(own, ASKED, OTHERS)
    value = json.loads(calibration_place(own).read_text(encoding="utf-8"))
    value["lexical"]["model"]["lead"] = value["lexical"]["model"].pop("lexical")
    calibration_place(own).write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"another version of korean-llm; delete it, or write it anew"):
        ExtractiveAnswerer(own, "").answer("배추는 몇 시간 절이나요?")


def test_few_documents_are_answered_from(own: Index) -> None:
    """How far a hit is ahead of others says nothing where there are no others."""
    for question in ("도서관은 언제 쉬나요?", "배추는 몇 시간 절이나요?", "카드 결제는 됩니까?", "김치 익히는 곳"):
        assert is_answered(own, gather(own, question)), question
    for question in ("양자 컴퓨터의 얽힘은 무엇인가요?", "여권은 어디에서 찾나요?", "비트코인"):
        assert not is_answered(own, gather(own, question)), question


def test_too_few_questions(own: Index) -> None:
    with pytest.raises(KoreanLLMError, match="without an answer; give at least 30"):
        calibrate.calibrate(own, ASKED, OTHERS[:3])
    assert not calibration_place(own).exists()


def test_a_runs_calibration_lies_among_its_records(own_run: Path) -> None:
    sets = own_run / "questions.jsonl"
    rows = [{"question": text, "evidence": "x"} for text in ASKED] + [{"question": text} for text in OTHERS]
    sets.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    found = CliRunner().invoke(app, ["calibrate", str(own_run), "--questions", str(sets), "--device", "cpu"])
    assert found.exit_code == 0, found.output
    assert "held_out: answers" in found.stdout
    assert (own_run / "records" / "answering.json").exists()
    folder = own_run / "retrieval"
    manifest = artifact.load_manifest(folder)
    assert manifest is not None and artifact.problems(folder, manifest) == []


def test_bad_sets_in_one_sentence(own_run: Path) -> None:
    (own_run / "bad.jsonl").write_text('{"text": "질문"}\n', encoding="utf-8")
    for options, words in (
        ([], "nothing to calibrate with"),
        (["--questions", "prose-ko"], "corpus of documents"),
        (["--questions", "no-such-set"], "no corpus is called"),
        (["--questions", str(own_run / "bad.jsonl")], "expected text in 'question'"),
    ):
        found = CliRunner().invoke(app, ["calibrate", str(own_run), *options])
        assert isinstance(found.exception, KoreanLLMError) and words in str(found.exception)


def test_features_with_and_without_an_encoder(own: Index, encoder: Path, tmp_path: Path) -> None:
    dense = Index.build(DOCUMENTS, tmp_path / "dense", encoder=encoder, machine=Machine("cpu", 1))
    question = "배추를 소금물에 몇 시간 절이나요?"
    lexical, hybrid = (features(index, gather(index, question)) for index in (own, dense))
    assert lexical.keys() == calibration_of(own).model.keys()
    assert hybrid.keys() == calibration_of(dense).model.keys() > lexical.keys()
    assert lexical["document_covered"] > 0.6 and lexical["kind_missing"] == 0
    other = features(own, gather(own, "배추를 소금물에 몇 킬로미터 절이나요?"))
    assert other["kind_missing"] == 1


@pytest.mark.parametrize(
    ("question", "holds", "lacks"),
    [
        ("배추는 몇 시간 절이나요?", "여섯 시간 절인다.", "여섯 번 절인다."),
        ("관객이 몇 명 들었나요?", "126명이 들어왔다.", "126개가 있다."),
        ("입장료는 얼마예요?", "요금은 5천 원이다.", "무게는 5킬로그램이다."),
        ("언제 문을 닫나요?", "저녁 여섯 시에 닫는다.", "문을 닫는다."),
        ("물은 얼마나 넣나요?", "물 1리터를 붓는다.", "물을 붓는다."),
    ],
)
def test_the_kind_of_thing_asked_for(question: str, holds: str, lacks: str) -> None:
    kind = asked_kind(question)
    assert kind is not None and kind(holds) and not kind(lacks)
    assert asked_kind("왜 그런가요?") is None


def test_small_talk_is_met_kindly(own: Index) -> None:
    for text in (
        "안녕하세요?",
        "안녕! 반가워요.",
        "고마워요, 큰 도움이 됐어요.",
        "ㅋㅋㅋ",
        "이름이 뭐예요?",
        "너는 누구야?",
    ):
        assert is_small_talk(text), text
        answer = ExtractiveAnswerer(own, "").answer(text)
        assert answer.text == SMALL_TALK and not answer.found and answer.nearest == ()
    for text in (
        "안녕 마을은 어디에 있나요?",
        "도와주세요, 배추를 어떻게 절이나요?",
        "감사 인사는 언제 하나요?",
        "테스트 절차가 뭐예요?",
    ):
        assert not is_small_talk(text), text
    assert ExtractiveAnswerer(own, "").answer("양자 컴퓨터의 얽힘은 무엇인가요?").text == NOT_FOUND
