"""Fuse lexical and dense scores: weighted z-scores over each arm's best passages.

Reciprocal-rank fusion with equal weights throws away how sure each arm is, and on Korean sets it came out below
lexical search alone on three of four; z-scores keep the distances and make the two scales comparable.
"""

from __future__ import annotations

import numpy as np

TOP = 100
FLOOR = -3.0


def z_scores(scores_N: np.ndarray, top: int = TOP) -> np.ndarray:
    """(score − mean) / standard deviation over the best `top` scores; FLOOR below them and at the least.

    Passages that tie with the last of the best count as best, so that equal scores stay equal: most of a lexical
    arm's scores are 0. scores_N: (N,) raw scores. Returns (N,).
    """
    best = np.sort(scores_N)[-top:]
    mean, spread = best.mean(), best.std()
    z_N = (scores_N - mean) / spread if spread > 1e-9 else np.zeros(len(scores_N))
    return np.where(scores_N >= best[0], np.maximum(z_N, FLOOR), FLOOR)


def fuse(lexical_N: np.ndarray, dense_N: np.ndarray | None, dense_weight: float) -> np.ndarray:
    """(1 − w) · z(lexical) + w · z(dense), shape (N,); lexical scores as they are where there is no dense arm."""
    if dense_N is None:
        return lexical_N
    return (1 - dense_weight) * z_scores(lexical_N) + dense_weight * z_scores(dense_N)
