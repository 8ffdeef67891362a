"""Measuring and tuning: metrics by hand, BEIR's layout, and nothing switched on that does not help for certain."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from korean_llm.cli import app
from korean_llm.errors import KoreanLLMError
from korean_llm.measure.ranking import averages, judged, paired_difference
from korean_llm.retrieval import Index, Options, evaluate
from korean_llm.retrieval.beir import Question, load_beir, load_questions
from korean_llm.retrieval.questions import from_corpus
from korean_llm.retrieval.tune import TABLE, tune
from tests.retrieval.conftest import DOCUMENTS

ASKED = {
    "q1": ("도서관은 언제 쉬나요?", "library"),
    "q2": ("절인 배추는 몇 번 헹구나요?", "kimchi"),
    "q3": ("계좌 이체", "bank"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, and a question set as BEIR publishes them."""
    folder = tmp_path_factory.mktemp("evaluate")
    Index.build(DOCUMENTS, folder / "index")
    tables = {
        "corpus.jsonl": [{"_id": row["id"], "title": row["title"], "text": row["text"]} for row in DOCUMENTS],
        "queries.jsonl": [{"_id": id, "text": text} for id, (text, _) in ASKED.items()],
    }
    (folder / "set" / "qrels").mkdir(parents=True)
    for name, rows in tables.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "set" / name).write_text(lines, encoding="utf-8")
    judgments = "".join(f"{id}\t{document}\t1\n" for id, (_, document) in ASKED.items())
    (folder / "set" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgments, encoding="utf-8")
    return folder


def test_metrics_by_hand() -> None:
    found = judged(["a", "b", "c"], {"b": 2, "c": 1, "d": 1, "x": 0})
    ideal = 2 + 1 / math.log2(3) + 1 / 2
    gained = 2 / math.log2(3) + 1 / 2
    expected = {"recall@1": 0, "recall@5": 2 / 3, "recall@10": 2 / 3, "mrr": 0.5, "ndcg@10": gained / ideal}
    assert found == pytest.approx(expected)
    assert averages([found, found])["mrr"] == {"mean": 0.5, "interval": [0.5, 0.5]}


def test_a_paired_difference_knows_chance_from_a_gain() -> None:
    mean, low, high = paired_difference([0.6, 0.4] * 50, [0.5, 0.5] * 50)
    assert mean == pytest.approx(0) and low < 0 < high
    assert paired_difference([0.6] * 50, [0.5] * 50) == pytest.approx((0.1, 0.1, 0.1))


def test_beir_sets_are_read_as_published(place: Path) -> None:
    documents, questions = load_beir(place / "set")
    assert [row["id"] for row in documents] == [row["id"] for row in DOCUMENTS]
    assert questions[0] == Question("q1", ASKED["q1"][0], {"library": 1})
    with pytest.raises(KoreanLLMError, match=r"holds no qrels\.jsonl"):
        load_questions(place / "index")


def test_options_are_changed_by_name_and_checked() -> None:
    assert evaluate.configured(Options(), ["fusion=rrf", "dense_weight=0.5"]) == Options(fusion="rrf", dense_weight=0.5)
    for change, message in (
        ("fusion=best", "fusion=best: input should be"),
        ("small_chars=3", "is no option of a search"),
    ):
        with pytest.raises(KoreanLLMError, match=message):
            evaluate.configured(Options(), [change])


def test_tuning_takes_only_what_helps_for_certain(encoder: Path, tmp_path: Path) -> None:
    lexical, dense = Options(dense_weight=0.0), Options(dense_weight=1.0)
    index = Index.build(DOCUMENTS, tmp_path, encoder=encoder, options=dense)
    asked = [(" ".join(row["text"].split()[at : at + 3]), row["id"]) for row in DOCUMENTS for at in range(8)]
    questions = [  # those that words find and the random encoder does not
        Question(f"q{number}", text, {id: 1})
        for number, (text, id) in enumerate(asked)
        if evaluate.ranked_documents(index, text, lexical)[0] == id != evaluate.ranked_documents(index, text, dense)[0]
    ]
    assert len(questions) > 5
    table = tune(index, questions)
    start, taken = table["rows"][0], [row for row in table["rows"][1:] if row["taken"]]
    assert start["ndcg@10"] < 1
    assert len(taken) == 1 and taken[0]["gain"]["interval"][0] > 0
    assert Index.open(tmp_path).options.dense_weight == table["chosen"]["dense_weight"] < 1
    assert json.loads((tmp_path / TABLE).read_text(encoding="utf-8")) == json.loads(json.dumps(table))
    again = tune(Index.open(tmp_path), questions)
    assert not any(row["taken"] for row in again["rows"][1:]), "nothing gains for certain any more"
    assert again["chosen"] == table["chosen"]


def test_questions_are_made_of_the_corpus(place: Path) -> None:
    index = Index.open(place / "index")
    made = from_corpus(index, 10)
    assert made and made == from_corpus(index, 10)
    for question in made:
        (id,) = question.relevant
        assert question.text not in index.document(id).text, "its words are mixed"


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout


def test_the_command_line_makes_grows_searches_and_measures_an_index(place: Path, tmp_path: Path) -> None:
    index, rows = str(tmp_path / "index"), tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in DOCUMENTS[:3]), encoding="utf-8")
    assert json.loads(call("index", index, str(rows), "--json")[1])["documents"] == 3
    rows.write_text(json.dumps({**DOCUMENTS[0], "text": "도서관은 화요일에 쉰다."}) + "\n", encoding="utf-8")
    grown = json.loads(call("index", index, str(rows), "--delete", "bank", "--json")[1])
    assert (grown["documents"], grown["segments"]) == (2, 2)
    assert json.loads(call("search", index, "도서관", "-k", "1", "--json")[1])[0]["text"] == "도서관은 화요일에 쉰다."
    assert json.loads(call("index", index, "--rebuild", "--json")[1]) == {**grown, "segments": 1}
    status, out = call("evaluate-search", str(place / "index"), "--questions", str(place / "set"), "--json")
    assert status == 0 and json.loads(out)["metrics"]["recall@1"]["mean"] == 1.0
    status, out = call(
        "evaluate-search", str(place / "index"), "--questions", str(place / "set"), "--other", index, "--json"
    )
    compared = json.loads(out)
    assert {row["id"] for row in compared["differing"]} == {"q3"}, "the other index has no bank"
    assert compared["first_minus_second"]["recall@1"]["mean"] == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.parametrize("verb", ["index", "search", "evaluate-search", "tune-search"])
def test_help_gives_examples(verb: str) -> None:
    status, out = call(verb, "--help")
    assert status == 0 and f"korean-llm {verb}" in out
