"""BM25 word by word, as the formula stands (Lucene's variant), slow and obvious."""

from __future__ import annotations

import math


def bm25(query: list[str], documents: list[list[str]], k1: float, b: float) -> list[float]:
    """The score of every document: Σ over query terms of idf · tf / (tf + k1 · (1 − b + b · length / mean length))."""
    mean_length = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            containing = sum(term in other for other in documents)
            if not containing:
                continue
            idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            tf = document.count(term)
            score += idf * tf / (tf + k1 * (1 - b + b * len(document) / mean_length))
        scores.append(score)
    return scores
