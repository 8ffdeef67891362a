"""What an extension is worth, by hand, and the number of tokens that is best."""

from __future__ import annotations

from dataclasses import replace

import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.shape import Shape
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.worth import LEAST_SAVED, best_number, judge, verdict

SHAPE = Shape(hidden=10, layers=1, feed_forward=20, vocabulary=100, heads=2, kv_heads=2, head_dim=5, tied=False)
"""Body 10 × (4 × 10 + 3 × 20) = 1,000; head 1,000; parameters 3,000."""


def merges(tokens_left: list[int]) -> list[Merge]:
    return [Merge(100 + i, (0, 1), b"", [], 1, left) for i, left in enumerate(tokens_left)]


@pytest.mark.parametrize(("tied", "tables"), [(True, 1), (False, 2)])
def test_verdict_by_hand(tied: bool, tables: int) -> None:
    found = verdict(replace(SHAPE, tied=tied), new_tokens=20, num_rows=150, tokens_ratio=0.5)
    assert found["rows_added"] == 50
    assert found["parameters_added"] == 500 * tables
    assert found["memory_added_bytes"] == 1_000 * tables
    assert found["parameters_added_ratio"] == round(500 * tables / (1_000 + 1_000 * tables), 4)
    assert found["speedup_per_char"] == round(2_000 / (0.5 * 2_500), 3)
    assert found["context_saved_ratio"] == 0.5
    assert found["recommendation"] == "extend by 20"


@pytest.mark.parametrize(
    ("ratio", "said"), [(0.99 - LEAST_SAVED, "extend by 20"), (1.01 - LEAST_SAVED, "do not extend")]
)
def test_too_little_saved_is_not_recommended(ratio: float, said: str) -> None:
    assert verdict(SHAPE, 20, 120, ratio)["recommendation"] == said


def test_the_best_number_is_where_the_next_row_costs_more_than_it_saves() -> None:
    """Each token adds 20 of 3,000 parameters (0.67 %) and 10 of 2,000 weights a token (0.5 %)."""
    left = [900, 800, 790, 789, 788]
    gains = [1 - left[i] / 1000 * (2_000 + 10 * (i + 1)) / 2_000 - 20 * (i + 1) / 3_000 for i in range(5)]
    assert gains.index(max(gains)) == 1
    assert best_number(SHAPE, 1_000, merges(left)) == 2
    assert best_number(replace(SHAPE, layers=100), 1_000, merges(left)) == 5


def test_an_extension_left_to_us_that_is_not_worth_it_stops() -> None:
    measured = {"measured_on": "held-out", "total": {"tokens": {"base": 100, "extended": 95}}}
    assert judge(SHAPE, 20, 120, measured, auto=False)["recommendation"] == "do not extend"
    with pytest.raises(KoreanLLMError, match="do not extend: the best extension, by 20 tokens, would save 5%"):
        judge(SHAPE, 20, 120, measured, auto=True)
