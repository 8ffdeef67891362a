"""BM25 over content morphemes plus a lighter BM25 over character bigrams, in segments that share their statistics.

Score (Lucene's variant, Kamphuis et al. 2020): Σ over fields of weight · Σ over question terms of
idf(t) · tf / (tf + k1 · (1 − b + b · length / mean length)), idf(t) = ln(1 + (N − df + 0.5) / (df + 0.5)).

N, df and the mean length are those of all living passages of the index, whatever segment they lie in: a passage scores
the same, bit by bit, whether the index was built at once or grew. Shapes: N passages, T terms, F fields, Q question
terms.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from korean_llm.retrieval import postings
from korean_llm.retrieval.analyzer import Analyzer, Fields
from korean_llm.retrieval.bulk import FIELDS, Counted, term_hash
from korean_llm.retrieval.columns import open_array, save_arrays

K1, B = 0.9, 0.75
BIGRAM_WEIGHT = 0.3
_ARRAYS = ("term_hashes", "term_fields", "term_indptr", "term_bounds", "posting_passages", "posting_counts", "lengths")


def field_weights(fields: Fields) -> dict[str, float]:
    """Field → weight: bigrams count less beside morphemes, fully alone."""
    if fields == "kiwi+bigram":
        return {"morphemes": 1.0, "bigrams": BIGRAM_WEIGHT}
    return {"morphemes": 1.0} if fields == "kiwi" else {"bigrams": 1.0}


def norms(lengths_FN: np.ndarray, means_F: np.ndarray) -> np.ndarray:
    """k1 · (1 − b + b · length / mean length), (F, N) float32."""
    means = np.where(means_F > 0, means_F, 1.0)[:, None]
    return (K1 * (1 - B + B * lengths_FN / means)).astype(np.float32)


class Postings:
    """The posting lists of one segment, mapped from its files."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.hashes_T, self.indptr = arrays["term_hashes"], arrays["term_indptr"]
        self.passages, self.counts = arrays["posting_passages"], arrays["posting_counts"]
        self.lengths_FN = arrays["lengths"]

    @classmethod
    def of(cls, counted: Counted) -> Postings:
        """Posting lists from counted terms, with bounds for the mean lengths they have by themselves."""
        lengths_FN = counted.lengths_FN
        own_norms = norms(lengths_FN, lengths_FN.mean(axis=1) if lengths_FN.size else np.zeros(len(FIELDS)))
        lists = (counted.indptr, counted.passages, counted.counts)
        bounds_T = postings.best_impacts(*lists, counted.fields_T, own_norms)
        arrays = (counted.hashes_T, counted.fields_T, counted.indptr, bounds_T, *lists[1:], lengths_FN)
        return cls(dict(zip(_ARRAYS, arrays, strict=True)))

    @classmethod
    def open(cls, folder: Path) -> Postings:
        """Map the files of a segment."""
        return cls({name: open_array(folder / f"{name}.npy") for name in _ARRAYS})

    def save(self, folder: Path) -> None:
        """Write the files of a segment."""
        save_arrays(folder, self.arrays)

    def dead(self, is_dead_N: np.ndarray) -> np.ndarray:
        """(T,) in how many dead passages each term occurs."""
        return postings.count_dead(self.indptr, self.passages, is_dead_N)

    def means(self) -> np.ndarray:
        """(F,) mean lengths over this segment alone, which its bounds were taken with."""
        return self.lengths_FN.mean(axis=1) if self.lengths_FN.size else np.zeros(len(FIELDS))


def merged(parts: Sequence[Postings], passage_maps: Sequence[np.ndarray], num_passages: int) -> Postings:
    """One posting list from several. passage_maps: new numbers of each part's passages, −1 where one is dead."""
    hashes_T, first = np.unique(np.concatenate([part.hashes_T for part in parts]), return_index=True)
    fields_T = np.concatenate([part.arrays["term_fields"] for part in parts])[first]
    term_maps = [np.searchsorted(hashes_T, part.hashes_T).astype(np.int64) for part in parts]
    sizes_T = np.zeros(len(hashes_T), np.int64)
    for part, term_map, passage_map in zip(parts, term_maps, passage_maps, strict=True):
        sizes_T[term_map] += np.diff(part.indptr) - part.dead((passage_map < 0).astype(np.uint8))
    kept = sizes_T > 0
    renumber = np.cumsum(kept) - 1
    indptr = np.concatenate([[0], np.cumsum(sizes_T[kept])])
    passages, counts = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.uint16)
    fill = np.append(indptr[:-1], indptr[-1])  # one place more, for terms that have died out
    for part, term_map, passage_map in zip(parts, term_maps, passage_maps, strict=True):
        to = np.where(kept[term_map], renumber[term_map], len(indptr) - 1)
        postings.copy_postings(to, passage_map, part.indptr, part.passages, part.counts, fill, passages, counts)
    lengths_FN = np.zeros((len(FIELDS), num_passages), np.int32)
    for part, passage_map in zip(parts, passage_maps, strict=True):
        lengths_FN[:, passage_map[passage_map >= 0]] = part.lengths_FN[:, passage_map >= 0]
    return Postings.of(Counted(hashes_T[kept], fields_T[kept], indptr, passages, counts, lengths_FN))


class _Part:
    """A segment as it is searched: its lists, its norms for the index's mean lengths, room to work in."""

    def __init__(self, lists: Postings, is_dead_N: np.ndarray | None, dead_T: np.ndarray | None, means_F: np.ndarray):
        self.lists = lists
        self._passages = lists.passages.view(np.uint32)  # numba need not look whether an index is negative
        self._dead_T = np.zeros(0, np.int32) if dead_T is None else dead_T
        self.norms_FN = norms(lists.lengths_FN, means_F)
        if is_dead_N is not None:
            self.norms_FN[:, is_dead_N.astype(bool)] = np.inf
        # A bound taken with another mean length holds when stretched: a longer mean raises tf / (tf + norm) at most so.
        own_F = lists.means()
        self.stretch_F = np.maximum(1.0, means_F / np.where(own_F > 0, own_F, 1.0))
        self._room = threading.local()

    def room(self) -> tuple[np.ndarray, np.ndarray]:
        """(scores, seen) of this thread."""
        if not hasattr(self._room, "arrays"):
            count = self.norms_FN.shape[1]
            self._room.arrays = np.zeros(count, np.float32), np.empty(count + 1, np.uint32)
        arrays: tuple[np.ndarray, np.ndarray] = self._room.arrays
        return arrays

    def terms(self, hashes_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(terms_Q, frequencies_Q): the segment's number of each term, −1 where it has none, and in how many living
        passages it occurs."""
        return postings.look_up(self.lists.hashes_T, self.lists.indptr, self._dead_T, hashes_Q)

    def search(self, question: Question, terms_Q: np.ndarray, k: int, floor: float) -> tuple[np.ndarray, np.ndarray]:
        """(passages, scores) of the segment's best, in no order; floor: a score below which nothing is wanted."""
        lists = self.lists
        return postings.search(
            lists.indptr, self._passages, lists.counts, self.norms_FN, lists.arrays["term_bounds"], self.stretch_F,
            terms_Q, question.fields_Q, question.weights_Q, k, floor, *self.room(),
        )  # fmt: skip


class Question:
    """The weighted terms of a question, heaviest first, and where each segment has them."""

    def __init__(
        self, hashes_Q: np.ndarray, fields_Q: np.ndarray, weights_Q: np.ndarray, terms: list[np.ndarray]
    ) -> None:
        self.hashes_Q, self.fields_Q, self.weights_Q, self.terms = hashes_Q, fields_Q, weights_Q, terms


class Lexical:
    """Search over the segments of an index; passages are numbered through all of them."""

    def __init__(
        self,
        analyzer: Analyzer,
        segments: Sequence[tuple[Postings, np.ndarray | None, np.ndarray | None]],
        num_living: int,
        total_lengths: Sequence[int],
    ) -> None:
        """segments: (lists, (N,) whether a passage is dead, (T,) dead passages of each term); both None if none is.

        num_living, total_lengths: passages that live, and the sum of their lengths in each field.
        """
        self.analyzer, self.num_living = analyzer, num_living
        self.weights = field_weights(analyzer.fields)
        self.means_F = np.array(total_lengths) / max(num_living, 1)
        self._parts = [_Part(*segment, self.means_F) for segment in segments]
        sizes = [part.norms_FN.shape[1] for part in self._parts]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def question(self, text: str) -> Question:
        """Look a question's terms up."""
        return self.weighted(self.analyzer.terms(text))

    def weighted(self, terms: Sequence[Sequence[str]]) -> Question:
        """Look terms up that are known already, field by field; a term that stands twice counts twice."""
        hashes, fields, counts = self._counted(terms)
        hashes_Q = np.array(hashes, dtype=np.uint64)
        found = [part.terms(hashes_Q) for part in self._parts]
        frequencies_Q = sum((frequencies for _, frequencies in found), np.zeros(len(hashes), np.int64))
        order_Q, hashes_Q, fields_Q, weights_Q = postings.weigh(
            hashes_Q, np.array(fields, np.uint8), np.array(counts), frequencies_Q, self.num_living
        )
        return Question(hashes_Q, fields_Q, weights_Q, [terms_Q[order_Q] for terms_Q, _ in found])

    def _counted(self, terms: Sequence[Sequence[str]]) -> tuple[list[int], list[int], list[float]]:
        """(hashes, fields, weight of the field · how often it stands there) of all different terms."""
        hashes: list[int] = []
        fields: list[int] = []
        counts: list[float] = []
        for field, (name, found) in enumerate(zip(FIELDS, terms, strict=True)):
            times: dict[int, int] = {}
            for term in found if name in self.weights else ():
                hashed = term_hash(field, term)
                times[hashed] = times.get(hashed, 0) + 1
            hashes += times
            fields += [field] * len(times)
            counts += [count * self.weights[name] for count in times.values()]
        return hashes, fields, counts

    def search(self, question: Question, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(numbers, scores) of the passages that score at least as much as the k-th best, best first, and above 0."""
        numbers, scores, floor = [], [], 0.0
        for part, terms_Q, offset in zip(self._parts, question.terms, self._offsets, strict=False):
            found, own = part.search(question, terms_Q, k, floor)
            numbers.append(found + offset if offset else found)
            scores.append(own)
            if len(own) >= k and len(self._parts) > 1:
                floor = max(floor, float(np.partition(own, len(own) - k)[len(own) - k]))
        if len(numbers) == 1:
            return _from_kth(numbers[0], scores[0], k)
        nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return _from_kth(np.concatenate([nothing[0], *numbers]), np.concatenate([nothing[1], *scores]), k)

    def scores_of(self, question: Question, numbers: np.ndarray) -> np.ndarray:
        """(len(numbers),) the scores of some passages, 0 where one holds no term of the question."""
        scores = np.zeros(len(numbers), np.float32)
        for number, (part, terms_Q) in enumerate(zip(self._parts, question.terms, strict=True)):
            here = (numbers >= self._offsets[number]) & (numbers < self._offsets[number + 1])
            lists, wanted = part.lists, numbers[here] - self._offsets[number]
            scores[here] = postings.scores_of(
                lists.indptr, lists.passages, lists.counts, part.norms_FN,
                terms_Q, question.fields_Q, question.weights_Q, wanted,
            )  # fmt: skip
        return scores


def _from_kth(numbers: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Those that score at least as much as the k-th best, best first."""
    order = np.argsort(-scores, kind="stable")
    numbers, scores = numbers[order], scores[order]
    end = int(np.searchsorted(-scores, -scores[k - 1], side="right")) if len(scores) > k else len(scores)
    return numbers[:end], scores[:end]
