"""The dense arm: small passages' vectors, searched over all segments; a passage scores as its best small one.

Shapes: N passages, M small passages (several to a passage), D width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from korean_llm.retrieval.encoder import Encoder
from korean_llm.retrieval.segment import Segment
from korean_llm.retrieval.vectors import Vectors


class DensePart(NamedTuple):
    """One segment's vectors. owners_M: the passage of each; is_dead_M: whether it is dead, None where none is."""

    vectors: Vectors
    owners_M: np.ndarray
    is_dead_M: np.ndarray | None
    num_passages: int


class Dense:
    """Search by meaning over the segments of an index; passages are numbered through all of them."""

    def __init__(self, encoder: Encoder, parts: Sequence[DensePart]) -> None:
        self.encoder, self._parts = encoder, parts
        self._offsets = np.concatenate([[0], np.cumsum([part.num_passages for part in parts])]).astype(np.int64)
        self._small_offsets = np.concatenate([[0], np.cumsum([len(part.vectors) for part in parts])]).astype(np.int64)

    def search(self, query_D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(numbers, scores, small) of the best k passages, best first; small: each one's best small passage."""
        numbers, scores, small = [], [], []
        for part, offset, small_offset in zip(self._parts, self._offsets, self._small_offsets, strict=False):
            found_scores, found = self._best_owners(part, query_D, k)
            numbers.append(part.owners_M[found] + offset)
            scores.append(found_scores)
            small.append(found + small_offset)
        if not numbers:
            return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64)
        all_scores = np.concatenate(scores)
        order = np.argsort(-all_scores, kind="stable")[:k]
        return np.concatenate(numbers)[order], all_scores[order], np.concatenate(small)[order]

    @staticmethod
    def _best_owners(part: DensePart, query_D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores, small passages): the best one of each of k passages, or of all there are."""
        depth = min(2 * k, len(part.vectors))
        while True:
            scores, found = part.vectors.search(query_D, depth, part.is_dead_M)
            _, first = np.unique(part.owners_M[found], return_index=True)
            first = np.sort(first)[:k]
            if len(first) == k or depth >= len(part.vectors):
                return scores[first], found[first]
            depth = min(4 * depth, len(part.vectors))

    def scores_of(self, query_D: np.ndarray, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(scores, small passages): the best small passage of each wanted passage, −1 where it has none."""
        scores, small = np.full(len(numbers), -1.0, np.float32), np.full(len(numbers), -1, np.int64)
        for at, number in enumerate(numbers):
            first, own = self.small_scores(query_D, number)
            if len(own):
                scores[at], small[at] = own.max(), first + own.argmax()
        return scores, small

    def small_scores(self, query_D: np.ndarray, number: int) -> tuple[int, np.ndarray]:
        """(first, scores): the small passages of a passage, which lie together, and the score of each."""
        segment = int(np.searchsorted(self._offsets, number, side="right")) - 1
        part = self._parts[segment]
        low, high = np.searchsorted(part.owners_M, [number - self._offsets[segment]] * 2 + np.array([0, 1]))
        return int(low + self._small_offsets[segment]), part.vectors.vectors_MD[low:high] @ query_D


def open_dense(encoder: Encoder, segments: Sequence[Segment]) -> Dense:
    """The dense arm of an index's segments. Raises ValueError where one lacks its vectors."""
    parts = []
    for segment in segments:
        owners_M = segment.small_M3[:, 0]
        if segment.vectors is None or len(segment.vectors) != len(owners_M):
            raise ValueError(f"{segment.folder} lacks vectors of its passages")
        dead_N = segment.dead_passages_N
        dead_M = None if dead_N is None else dead_N[owners_M]
        parts.append(DensePart(segment.vectors, owners_M, dead_M, len(segment.passages_N5)))
    return Dense(encoder, parts)
