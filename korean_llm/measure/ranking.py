"""Ranking metrics for questions with one right passage or several right documents, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

Rank = int | None
"""Rank of the first right hit, counted from 1; None where none was found."""

_RESAMPLES = 2_000
_PAIRED_RESAMPLES = 10_000


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


def judged(found: Sequence[str], relevant: Mapping[str, int]) -> dict[str, float]:
    """recall@1, @5, @10, MRR and nDCG@10 of one question with any number of right documents.

    found: ids, best first; relevant: id → grade, 0 for wrong. nDCG gains grade / log2(1 + rank), as trec_eval does.
    """
    right = {id for id, grade in relevant.items() if grade > 0}
    first = next((rank for rank, id in enumerate(found, start=1) if id in right), None)
    gained = sum(relevant.get(id, 0) / math.log2(1 + rank) for rank, id in enumerate(found[:10], start=1))
    grades = sorted((relevant[id] for id in right), reverse=True)[:10]
    ideal = sum(grade / math.log2(1 + rank) for rank, grade in enumerate(grades, start=1))
    return {
        **{f"recall@{k}": len(right & set(found[:k])) / len(right) if right else 0.0 for k in (1, 5, 10)},
        "mrr": _reciprocal(first),
        "ndcg@10": gained / ideal if ideal else 0.0,
    }


def averages(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | list[float]]]:
    """Metric → {"mean", "interval"} over questions, rounded to 4 places."""
    return {
        name: {
            "mean": round(_mean([row[name] for row in rows]), 4),
            "interval": _rounded(interval([row[name] for row in rows])),
        }
        for name in (rows[0] if rows else ())
    }


def paired_difference(
    ours: Sequence[float], theirs: Sequence[float], level: float = 0.95
) -> tuple[float, float, float]:
    """(mean, low, high) of ours − theirs by a paired bootstrap over questions (Sakai 2006); level: of the interval."""
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    if not len(differences):
        return (0.0, 0.0, 0.0)
    draws = np.random.default_rng(0).integers(0, len(differences), (_PAIRED_RESAMPLES, len(differences)))
    tail = 50 * (1 - level)
    low, high = np.percentile(differences[draws].mean(axis=1), [tail, 100 - tail])
    return (float(differences.mean()), float(low), float(high))
