"""One segment from several, without what is dead; nothing is analysed or encoded again.

Shapes: D documents, N passages, M small passages of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from korean_llm.retrieval.cut import Cut
from korean_llm.retrieval.lexical import merged
from korean_llm.retrieval.segment import Entry, Segment, write_segment


class _Maps(NamedTuple):
    """The new number of each old document and passage, −1 where it is dead; lives_M: whether a small passage lives."""

    documents_D: np.ndarray
    passages_N: np.ndarray
    lives_M: np.ndarray


def merge_segments(segments: Sequence[Segment], folder: Path) -> Entry:
    """Write the living documents of some segments as one, in their order."""
    maps = _maps(segments)
    documents = [segment.document(int(number)) for segment in segments for number in segment.living()]
    parts = _cut(segments, maps)
    lists = merged([one.postings for one in segments], [one.passages_N for one in maps], len(parts.passages_N5))
    return write_segment(folder, documents, parts, lists, _vectors(segments, maps))


def _maps(segments: Sequence[Segment]) -> list[_Maps]:
    maps = []
    num_documents = num_passages = 0
    for segment in segments:
        lives_D = np.zeros(len(segment.ids), bool)
        lives_D[segment.living()] = True
        lives_N = lives_D[segment.passages_N5[:, 0]]
        documents_D = np.where(lives_D, np.cumsum(lives_D) - 1 + num_documents, -1)
        passages_N = np.where(lives_N, np.cumsum(lives_N) - 1 + num_passages, -1)
        maps.append(_Maps(documents_D, passages_N, lives_N[segment.small_M3[:, 0]]))
        num_documents, num_passages = num_documents + int(lives_D.sum()), num_passages + int(lives_N.sum())
    return maps


def _cut(segments: Sequence[Segment], maps: Sequence[_Maps]) -> Cut:
    passages, small = [np.zeros((0, 5), np.int64)], [np.zeros((0, 3), np.int64)]
    for segment, own in zip(segments, maps, strict=True):
        rows_N5 = segment.passages_N5[own.passages_N >= 0].copy()
        rows_N5[:, 0] = own.documents_D[rows_N5[:, 0]]
        rows_M3 = segment.small_M3[own.lives_M].copy()
        rows_M3[:, 0] = own.passages_N[rows_M3[:, 0]]
        passages.append(rows_N5)
        small.append(rows_M3)
    return Cut(np.concatenate(passages), np.concatenate(small))


def _vectors(segments: Sequence[Segment], maps: Sequence[_Maps]) -> np.ndarray | None:
    parts = [
        segment.vectors.vectors_MD[own.lives_M]
        for segment, own in zip(segments, maps, strict=True)
        if segment.vectors is not None
    ]
    return np.concatenate(parts) if parts else None
