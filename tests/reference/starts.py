"""Starting rows the slow and obvious way, to compare with."""

from __future__ import annotations

import math

import numpy as np


def weighted_mean(rows: list[list[float]], weights: list[float]) -> list[float]:
    """Σ w r / Σ w, number by number."""
    return [sum(w * row[d] for w, row in zip(weights, rows, strict=True)) / sum(weights) for d in range(len(rows[0]))]


def project_to_simplex(scores: list[float]) -> list[float]:
    """The nearest point of the simplex, by bisection for the threshold."""
    low, high = min(scores) - 1.0, max(scores)
    for _ in range(100):
        middle = (low + high) / 2
        if sum(max(0.0, score - middle) for score in scores) > 1:
            low = middle
        else:
            high = middle
    return [max(0.0, score - high) for score in scores]


def matching_pursuit(target: np.ndarray, atoms: np.ndarray, num: int) -> dict[int, float]:
    """Greedy atoms and their least-squares coefficients for one target."""
    chosen: list[int] = []
    weights = np.zeros(0)
    for _ in range(num):
        left = target - (atoms[chosen].T @ weights if chosen else 0)
        gains = [(-1.0 if i in chosen else abs(float(left @ atom))) for i, atom in enumerate(atoms)]
        chosen.append(int(np.argmax(gains)))
        weights = np.linalg.lstsq(atoms[chosen].T, target, rcond=None)[0]
    return dict(zip(chosen, map(float, weights), strict=True))


def fit_loss(
    states: np.ndarray, following: list[int], old: np.ndarray, prior: np.ndarray, change: np.ndarray, penalty: float
) -> float:
    """The objective of fitted rows, position by position."""
    total = 0.5 * penalty * float((change**2).sum())
    for state, token, log_old in zip(states, following, old, strict=True):
        logits = [float(row @ state) for row in prior + change]
        total += math.log(math.exp(log_old) + sum(math.exp(logit) for logit in logits))
        total -= logits[token] if token >= 0 else 0.0
    return total
