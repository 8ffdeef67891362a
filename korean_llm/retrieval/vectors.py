"""Vectors in FAISS: exact while that is fast enough, compressed and re-scored exactly where it is not.

Up to 200,000 vectors a question is compared with every one of them: encoding the question costs more. Above, vectors
are kept as product-quantized codes of 4 bits (André et al. 2015, PQ Fast Scan), grouped by nearest centre above a
million (IVF), and the best are scored again with the vectors themselves, which stay on disk and are mapped. How many
are scored again is measured on the vectors' own neighbours until 99 % of the true best ten are found.
Shapes: M vectors, D width, S sample.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from korean_llm import console

FLAT, CODES = "vectors.faiss", "codes.faiss"
EXACT_UP_TO = 200_000
_GROUPS_FROM = 1_000_000
_WANTED_RECALL, _K = 0.99, 10
_SAMPLE, _TRAIN = 200, 50_000
_SEED = 17

Kind = Literal["flat", "codes", "grouped codes"]


@dataclass(frozen=True)
class Setup:
    """How a segment's vectors are searched, kept in its manifest.

    depth: candidates that are scored again; groups: groups looked into; recall: share of the true best 10 found, as
    measured on a sample of its own vectors.
    """

    kind: Kind = "flat"
    depth: int = 0
    groups: int = 0
    recall: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def build(folder: Path, vectors_MD: np.ndarray, exact_up_to: int = EXACT_UP_TO) -> Setup:
    """Write the vectors, and codes where there are many, into a segment's folder."""
    flat = faiss.IndexFlatIP(vectors_MD.shape[1])
    flat.add(vectors_MD)
    faiss.write_index(flat, str(folder / FLAT))
    if len(vectors_MD) <= exact_up_to:
        return Setup()
    with console.working(f"coding {len(vectors_MD):,} vectors"):
        codes = _codes(vectors_MD)
        faiss.write_index(codes, str(folder / CODES))
        return _measured(codes, vectors_MD)


def _codes(vectors_MD: np.ndarray) -> faiss.Index:
    count, width = vectors_MD.shape
    parts = next(parts for parts in range(max(width // 4, 1), 0, -1) if width % parts == 0)
    groups = f"IVF{4 * int(count**0.5)}," if count > _GROUPS_FROM else ""
    codes = faiss.index_factory(width, f"{groups}PQ{parts}x4fs", faiss.METRIC_INNER_PRODUCT)
    sample = np.random.default_rng(_SEED).choice(count, min(_TRAIN, count), replace=False)
    codes.train(vectors_MD[np.sort(sample)])
    codes.add(vectors_MD)
    return codes


def _measured(codes: faiss.Index, vectors_MD: np.ndarray) -> Setup:
    """The cheapest setup that finds 99 % of the true best 10 of a sample; a question's own vector does not count."""
    numbers_S = np.random.default_rng(_SEED + 1).choice(len(vectors_MD), _SAMPLE, replace=False)
    asked_SD = vectors_MD[np.sort(numbers_S)]
    _, true = faiss.knn(asked_SD, vectors_MD, _K + 1, faiss.METRIC_INNER_PRODUCT)
    grouped = isinstance(codes, faiss.IndexIVF)
    setup = Setup()
    for groups in (8, 16, 32, 64, 128, 256) if grouped else (0,):
        for depth in (50, 100, 200, 400, 800, 1600):
            setup = Setup("grouped codes" if grouped else "codes", depth, groups)
            found = [_search_codes(codes, vectors_MD, one, _K + 1, setup)[1] for one in asked_SD]
            hits = [len(set(a[1:]) & set(b.tolist())) for a, b in zip(true.tolist(), found, strict=True)]
            setup = replace(setup, recall=round(sum(hits) / (_K * len(hits)), 4))
            if setup.recall >= _WANTED_RECALL:
                return setup
    return setup


def _search_codes(
    codes: faiss.Index,
    vectors_MD: np.ndarray,
    query_D: np.ndarray,
    k: int,
    setup: Setup,
    is_dead_M: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(scores, numbers) of the best k, best first: candidates by codes, exact scores by the vectors."""
    depth = max(setup.depth, 4 * k)
    if is_dead_M is not None:  # codes know of no dead: more candidates make up for them
        depth = int(depth * len(is_dead_M) / max(len(is_dead_M) - int(is_dead_M.sum()), 1)) + 1
    parameters = faiss.SearchParametersIVF(nprobe=setup.groups) if setup.groups else None  # type: ignore[call-arg]
    found = codes.search(query_D[None], min(depth, len(vectors_MD)), params=parameters)[1][0]
    numbers = np.sort(found[found >= 0])  # in the order in which they lie on disk
    if is_dead_M is not None:
        numbers = numbers[is_dead_M[numbers] == 0]
    scores = vectors_MD[numbers] @ query_D
    order = np.argsort(-scores, kind="stable")[:k]
    return scores[order], numbers[order]


class Vectors:
    """The vectors of one segment, mapped; scores are inner products, cosines for normalised vectors."""

    def __init__(self, folder: Path, setup: Setup) -> None:
        self.setup = setup
        self._flat = faiss.read_index(str(folder / FLAT), faiss.IO_FLAG_MMAP_IFC)
        xb = self._flat.get_xb()  # type: ignore[attr-defined]
        self.vectors_MD = faiss.rev_swig_ptr(xb, self._flat.ntotal * self._flat.d).reshape(-1, self._flat.d)
        self._codes = None if setup.kind == "flat" else faiss.read_index(str(folder / CODES))

    def __len__(self) -> int:
        return int(self._flat.ntotal)

    def search(self, query_D: np.ndarray, k: int, is_dead_M: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(scores, numbers) of the best k living vectors, best first."""
        k = min(k, len(self))
        if self._codes is not None:
            return _search_codes(self._codes, self.vectors_MD, query_D, k, self.setup, is_dead_M)
        selector = None
        if is_dead_M is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(is_dead_M == 0, bitorder="little"))  # type: ignore[call-arg,arg-type]
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        scores, numbers = self._flat.search(query_D[None], k, params=parameters)
        found = numbers[0] >= 0
        return scores[0][found], numbers[0][found]
