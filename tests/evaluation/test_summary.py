"""The sentences say what the figures say, for better and for worse."""

from __future__ import annotations

from typing import Any

import pytest

from korean_llm.evaluation.sections import fusion_gain
from korean_llm.evaluation.summary import file_size, headline, model_rows, percent, summarize
from korean_llm.measure.ranking import ndcg_at


def report(**bits: tuple[float, float]) -> dict[str, Any]:
    """A report of models alone: role → (Korean, English) bits per byte."""
    base = bits["base"]
    models = [
        {
            "role": role,
            "bits_per_byte": {"ko": ko, "en": en},
            "change_from_base": {"ko": ko / base[0] - 1, "en": en / base[1] - 1},
            "texts_better_than_base": {"ko": 3, "en": 0},
            "bytes_per_token": {"ko": 3.0, "en": 4.0},
            "tokens_per_eojeol": 2.5,
            "scored_tokens_per_s": 1234.0,
        }
        for role, (ko, en) in bits.items()
    ]
    sizes = {"texts": 5, "bytes": 200_000}
    return {"models": models, "holdout": {"languages": {"ko": sizes, "en": sizes}}}


@pytest.mark.parametrize(
    ("bits", "tone", "parts"),
    [
        (
            {"base": (2.4, 1.2), "extended": (3.1, 1.2), "adapted": (2.64, 1.2)},
            "worse",
            [
                "3.100비트에서 2.640비트로",
                "확장 직후보다 나아졌으나",
                "원본(2.400비트)에는 아직 못 미칩니다(10.0% 높음)",
            ],
        ),
        (
            {"base": (2.4, 1.2), "extended": (3.1, 1.2), "adapted": (1.8, 1.2)},
            "better",
            ["3.100비트에서 1.800비트로", "원본(2.400비트)보다도 25.0% 낮습니다"],
        ),
        (
            {"base": (2.4, 1.2), "extended": (3.1, 1.2), "adapted": (3.2, 1.2)},
            "worse",
            ["낮아지지 않았습니다"],
        ),
        ({"base": (2.4, 1.2), "adapted": (2.1, 1.2)}, "better", ["2.400비트에서 2.100비트로 12.5% 낮아졌습니다"]),
        ({"base": (2.4, 1.2), "extended": (3.0, 1.2)}, "worse", ["원본(2.400비트)보다 25.0% 높습니다"]),
        ({"base": (2.4, 1.2), "extended": (2.3, 1.2)}, "better", ["어휘 확장만으로 2.400비트에서 2.300비트로"]),
    ],
)
def test_korean_is_held_against_base_and_extended(
    bits: dict[str, tuple[float, float]], tone: str, parts: list[str]
) -> None:
    first = summarize(report(**bits))[0]
    assert first["tone"] == tone
    for part in parts:
        assert part in first["text"]


@pytest.mark.parametrize(
    ("english", "tone", "part"),
    [(1.203, "note", "거의 그대로"), (1.218, "worse", "조금"), (1.26, "worse", "눈에 띄게"), (1.1, "better", "나아졌")],
)
def test_english_is_never_left_out(english: float, tone: str, part: str) -> None:
    found = summarize(report(base=(2.4, 1.2), adapted=(2.1, english)))[1]
    assert found["tone"] == tone
    assert part in found["text"] and f"{english:.3f}비트" in found["text"]


def test_an_extension_that_saves_nothing_is_not_praised() -> None:
    value = report(base=(2.4, 1.2), extended=(2.6, 1.2))
    value["vocabulary"] = {
        "total": {"eojeols": 100, "tokens_per_eojeol": {"base": 2.4, "extended": 2.3}},
        "verdict": {"recommendation": "do not extend"},
    }
    first = summarize(value)[0]
    assert first["tone"] == "worse"
    assert "권하지 않습니다" in first["text"]
    value["vocabulary"]["verdict"] = {"recommendation": "extend by 8,000"}
    value["vocabulary"]["total"]["tokens_per_eojeol"] = {"base": 9.0, "extended": 3.0}
    assert "67% 줄었습니다" in summarize(value)[0]["text"]
    assert "3.0배" in summarize(value)[0]["text"]


@pytest.mark.parametrize(
    ("hybrid", "tone", "part"),
    [
        ([1] * 40, "better", "보다 낫습니다"),
        ([9] * 40, "worse", "오히려 못합니다"),
        ([1, 3] * 20, "note", "질문이 적습니다"),
    ],
)
def test_fusion_is_held_against_its_better_arm(hybrid: list[int], tone: str, part: str) -> None:
    ranks = {"lexical": [2, 1, 2, 2] * 10, "dense": [5] * 40, "hybrid": hybrid}
    fusion = fusion_gain(ranks)
    assert fusion["over"] == "lexical"
    assert fusion["ndcg@10"] == pytest.approx(ndcg_at(hybrid, 10) - ndcg_at(ranks["lexical"], 10), abs=1e-4)
    value = report(base=(2.4, 1.2))
    arms = {name: {"recall@5": 0.95} for name in ranks}
    value["retrieval"] = {"questions": 40, "arms": arms, "fusion": fusion}
    found = summarize(value)[0]
    assert found["tone"] == tone
    assert "95.0%" in found["text"] and "낱말 검색만" in found["text"] and part in found["text"]
    assert headline(value)[-1]["after"] == "95.0%"


def test_a_search_without_vectors_is_compared_with_nothing() -> None:
    value = report(base=(2.4, 1.2))
    value["retrieval"] = {"questions": 4, "arms": {"hybrid": {"recall@5": 0.75}}, "fusion": None}
    assert summarize(value) == [
        {"tone": "note", "text": "검색은 질문 4개 가운데 75.0%에서 근거 문단을 상위 5개 안에 올렸습니다."}
    ]


@pytest.mark.parametrize(("english", "tone"), [(0.072, "worse"), (0.001, "note")])
def test_the_smallest_file_is_judged_by_its_worst_language(english: float, tone: str) -> None:
    value = report(base=(2.4, 1.2))
    files = [
        {"bytes": 145_000_000, "rise": {"ko": 0.0, "en": 0.0}},
        {"bytes": 105_000_000, "rise": {"ko": -0.001, "en": english}},
    ]
    value["export"] = {"files": [{"bytes": 1, "rise": {}}, *files]}
    found = summarize(value)[0]
    assert found["tone"] == tone
    assert "(105.0 MB)" in found["text"] and f"한국어 −0.1%, 영어 {english:+.1%}입니다" in found["text"]


def test_a_small_or_missing_holdout_is_said() -> None:
    value = report(base=(2.4, 1.2))
    value["holdout"]["languages"] = {"ko": {"texts": 8, "bytes": 12_000}}
    texts = [sentence["text"] for sentence in summarize(value)]
    assert any("한국어 8편 12.0KB뿐" in text for text in texts)
    assert any("영어 글이 없어" in text for text in texts)


def test_rows_are_ready_to_print() -> None:
    base, adapted = model_rows(report(base=(2.4, 1.2), adapted=(2.1, 1.2)))
    assert base["change"] == {"ko": "", "en": ""}
    assert adapted["change"] == {"ko": "−12.5%", "en": "0.0%"}
    assert adapted["tone"] == {"ko": "better", "en": "note"}
    assert adapted["texts_better"]["ko"] == "5편 중 3편 낮음"
    assert adapted["tokens_per_s"] == "1,234"


def test_figures_as_text() -> None:
    assert [percent(value) for value in (0.0, -0.0004, 0.0126, -0.69)] == ["0.0%", "0.0%", "+1.3%", "−69.0%"]
    assert [file_size(value) for value in (None, 512, 105_200_000)] == ["–", "0.5 KB", "105.2 MB"]
