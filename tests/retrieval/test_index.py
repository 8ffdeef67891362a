"""The index: scores are the formula's, spans are exact, the folder needs nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import RetrievalSettings
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import Options
from korean_llm.retrieval.stage import run
from tests.retrieval.conftest import DOCUMENTS

QUESTION = "도서관은 언제 쉬나요?"


@pytest.fixture(scope="module")
def lexical_index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("lexical")
    Index.build(DOCUMENTS, folder)
    return Index.open(folder)


def test_three_lines_find_the_right_passage(lexical_index: Index) -> None:
    hits = lexical_index.search(QUESTION, k=3)
    assert hits[0].document_id == "library"
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].score >= hits[1].score >= hits[2].score
    assert hits[0].dense is None


def test_every_hit_is_exactly_its_span(lexical_index: Index) -> None:
    texts = {row["id"]: row["text"] for row in DOCUMENTS}
    for question in (QUESTION, "배추는 몇 번 헹구나요?", "계좌 이체", "버드나무"):
        for hit in lexical_index.search(question):
            assert texts[hit.document_id][hit.start : hit.end] == hit.text


def test_another_version_is_refused_with_the_command(tmp_path: Path) -> None:
    Index.build(DOCUMENTS, tmp_path)
    state = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    old = {**state, "made_with": {"kiwipiepy": "0.1.0", "rules": 1}}
    (tmp_path / "index.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"kiwipiepy 0\.1\.0 and rules 1, .*korean-llm index .*--rebuild"):
        Index.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="--only retrieval --force"):
        Index.open(tmp_path)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "no document"),
        ([{"id": "a", "text": "  "}], "holds any text"),
        ([{"id": "a", "text": "글"}, {"id": "a", "text": "글"}], "'a' stands twice"),
        ([{"id": "a"}], "expected text in 'text'"),
        ([{"id": 3, "text": "글"}], "expected text in 'id'"),
        ([{"id": "a", "text": "글\ud800"}], "'a' holds half a surrogate pair"),
    ],
)
def test_bad_documents_are_named(tmp_path: Path, documents: list[dict], message: str) -> None:
    with pytest.raises(KoreanLLMError, match=message):
        Index.build(documents, tmp_path / "index")


@pytest.mark.parametrize(
    ("question", "message"), [("  ", "empty"), ("가" * 100_000, "100,000 characters"), ("글\ud800", "surrogate")]
)
def test_bad_questions_are_refused(lexical_index: Index, question: str, message: str) -> None:
    with pytest.raises(KoreanLLMError, match=message):
        lexical_index.search(question)


@pytest.mark.parametrize("question", ["?!…", "😀", "\x00", "zzz", "1" * 9_000])
def test_a_question_that_matches_nothing_still_answers(lexical_index: Index, question: str) -> None:
    assert len(lexical_index.search(question, k=2)) == 2


def test_separators_inside_a_text_survive(tmp_path: Path) -> None:
    text = '첫째 줄\u2028둘째 줄\x85셋째 줄\x0c넷째 줄\r\n다섯째 "줄"'
    Index.build([{"id": "a", "text": text}], tmp_path)
    assert Index.open(tmp_path).documents[0].text == text


@pytest.mark.parametrize(
    "name",
    ["index.json", "texts.npy", "passages.npy", "posting_counts.npy", "vectors.faiss", "model.safetensors"],
)
def test_a_damaged_file_is_one_sentence(encoder: Path, tmp_path: Path, name: str) -> None:
    Index.build(DOCUMENTS, tmp_path, encoder=encoder)
    target = next(tmp_path.rglob(name))
    target.write_bytes(target.read_bytes()[:40])
    with pytest.raises(KoreanLLMError, match=r"cannot be opened.*--rebuild"):
        Index.open(tmp_path)


def test_a_build_that_fails_leaves_the_index_that_was_there(tmp_path: Path) -> None:
    Index.build(DOCUMENTS, tmp_path)

    def broken():
        yield DOCUMENTS[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Index.build(broken(), tmp_path)
    assert len(Index.open(tmp_path).documents) == len(DOCUMENTS)
    Index.build(DOCUMENTS[:2], tmp_path)
    assert [document.id for document in Index.open(tmp_path).documents] == ["library", "kimchi"]


def test_documents_may_bring_their_own_passages(tmp_path: Path) -> None:
    text = DOCUMENTS[0]["text"]
    row = {**DOCUMENTS[0], "spans": [[0, 18], [20, len(text)]]}
    hits = Index.build([row], tmp_path / "a").search(QUESTION, k=5)
    assert sorted((hit.start, hit.end) for hit in hits) == [(0, 18), (20, len(text))]
    assert all(text[hit.start : hit.end] == hit.text for hit in hits)
    with pytest.raises(KoreanLLMError, match="ascending spans within 0–"):
        Index.build([{**row, "spans": [[0, 999]]}], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_encoder_that_is_none_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match=r"holds no modules\.json"):
        Index.build(DOCUMENTS, tmp_path / "index", encoder=tmp_path)
    assert not (tmp_path / "index").exists()


def test_no_index_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match="holds no search index"):
        Index.open(tmp_path)
    (tmp_path / "letter.txt").write_text("x", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="holds no index"):
        Index.build(DOCUMENTS, tmp_path)
    with pytest.raises(KoreanLLMError, match="is a file"):
        Index.build(DOCUMENTS, tmp_path / "letter.txt")


def write_corpus(folder: Path, kind: str, rows: list[dict[str, str]]) -> str:
    folder.mkdir()
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "rows.jsonl").write_bytes(data)
    card = (
        f"title: t\nkind: {kind}\nlanguage: ko\nlicence: CC0-1.0\nsource: test\n"
        f"files: {{rows.jsonl: {hashlib.sha256(data).hexdigest()}}}\n"
    )
    (folder / "card.yaml").write_text(card, encoding="utf-8")
    return str(folder)


def test_the_stage_measures_every_arm(encoder: Path, tmp_path: Path, machine) -> None:
    questions = [
        {
            "id": "q1",
            "question": QUESTION,
            "document_id": "library",
            "evidence": "매주 월요일에 쉽니다",
            "answer": "월요일",
        },
        {
            "id": "q2",
            "question": "절인 배추는 몇 번 헹구나요?",
            "document_id": "kimchi",
            "evidence": "세 번 헹군다",
            "answer": "세 번",
        },
    ]
    settings = RetrievalSettings(
        documents=[write_corpus(tmp_path / "documents", "documents", DOCUMENTS)],
        questions=[write_corpus(tmp_path / "questions", "questions", questions)],
    )
    out = tmp_path / "out"
    out.mkdir()
    result = run(settings, {"encoder": encoder}, out, machine, 17)
    assert result["metrics"]["lexical"]["recall@1"] == 1.0
    assert set(result["metrics"]) == {"lexical", "dense", "hybrid"}
    kept = json.loads((out / "questions.json").read_text(encoding="utf-8"))
    assert [row["ranks"]["lexical"] for row in kept] == [1, 1]
    for row in kept:
        found = [hit.document_id for hit in Index.open(out).search(row["question"])]
        assert found.index(row["document_id"]) + 1 == row["ranks"]["hybrid"]


def test_evidence_that_is_not_there_is_an_error(tmp_path: Path, machine) -> None:
    questions = [{"id": "q1", "question": "?", "document_id": "library", "evidence": "없는 구절", "answer": ""}]
    settings = RetrievalSettings(
        documents=[write_corpus(tmp_path / "documents", "documents", DOCUMENTS)],
        questions=[write_corpus(tmp_path / "questions", "questions", questions)],
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(KoreanLLMError, match="'q1': its evidence occurs 0 times in 'library'"):
        run(settings, {}, tmp_path / "out", machine, 17)


def test_weights_follow_the_analyzer(tmp_path: Path) -> None:
    for analyzer, fields in (("kiwi", {"morphemes"}), ("bigram", {"bigrams"})):
        folder = tmp_path / analyzer
        Index.build(DOCUMENTS, folder, options=Options(analyzer=analyzer))
        assert set(Index.open(folder).lexical.weights) == fields
