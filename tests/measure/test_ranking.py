"""Ranking metrics against figures worked out by hand."""

from __future__ import annotations

import pytest

from korean_llm.measure.ranking import interval, mean_reciprocal_rank, ndcg_at, recall_at, summary

RANKS = [1, 2, None, 4]


def test_by_hand() -> None:
    assert recall_at(RANKS, 1) == 0.25
    assert recall_at(RANKS, 3) == 0.5
    assert mean_reciprocal_rank(RANKS) == pytest.approx((1 + 0.5 + 0.25) / 4)
    assert ndcg_at(RANKS, 3) == pytest.approx((1 + 0.6309297) / 4)
    assert ndcg_at(RANKS, 10) == pytest.approx((1 + 0.6309297 + 0.4306766) / 4)


def test_no_questions_is_zero_and_not_an_error() -> None:
    assert summary([])["recall@5"] == 0


def test_the_interval_holds_the_mean_and_narrows_with_more_questions() -> None:
    few, many = interval([0.0, 1.0] * 10), interval([0.0, 1.0] * 1000)
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert interval([1.0] * 5) == (1.0, 1.0)
