"""Ranking metrics for questions with one right passage, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Rank = int | None
"""Rank of the first right hit, counted from 1; None where none was found."""

_RESAMPLES = 2_000


def recall_at(ranks: Sequence[Rank], k: int) -> float:
    """Share of questions whose right passage is among the first k hits."""
    return _mean([_within(rank, k) for rank in ranks])


def mean_reciprocal_rank(ranks: Sequence[Rank]) -> float:
    """Mean of 1 / rank, 0 where nothing was found (Voorhees 1999, TREC-8)."""
    return _mean([_reciprocal(rank) for rank in ranks])


def ndcg_at(ranks: Sequence[Rank], k: int) -> float:
    """nDCG@k with one relevant passage: 1 / log2(1 + rank) within k, else 0 (Järvelin & Kekäläinen 2002)."""
    return _mean([_gain(rank, k) for rank in ranks])


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over questions (Efron 1979)."""
    if not values:
        return (0.0, 0.0)
    array = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(array), (_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), [2.5, 97.5])
    return (float(low), float(high))


def summary(ranks: Sequence[Rank]) -> dict[str, float | list[float]]:
    """recall@1, @5, @10, MRR and nDCG@10, and the interval of recall@5 and nDCG@10, rounded to 4 places."""
    return {
        **{f"recall@{k}": round(recall_at(ranks, k), 4) for k in (1, 5, 10)},
        "mrr": round(mean_reciprocal_rank(ranks), 4),
        "ndcg@10": round(ndcg_at(ranks, 10), 4),
        "recall@5_interval": _rounded(interval([_within(rank, 5) for rank in ranks])),
        "ndcg@10_interval": _rounded(interval([_gain(rank, 10) for rank in ranks])),
    }


def _rounded(pair: tuple[float, float]) -> list[float]:
    return [round(value, 4) for value in pair]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _within(rank: Rank, k: int) -> float:
    return float(rank is not None and rank <= k)


def _reciprocal(rank: Rank) -> float:
    return 0.0 if rank is None else 1 / rank


def _gain(rank: Rank, k: int) -> float:
    return 0.0 if rank is None or rank > k else 1 / math.log2(1 + rank)
