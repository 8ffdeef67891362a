"""Posting lists: count terms into them, merge them, and find the best passages by exact BM25.

Shapes: N passages, T terms, P postings, F fields (morphemes, bigrams), Q query terms. A posting is a passage and how
often the term occurs in it; postings of a term lie together in the order of passages, from indptr[t] to indptr[t + 1].

The search is term at a time, rarest first, with MaxScore's bounds (Turtle & Flood 1995): once the terms still to come
cannot lift an unseen passage into the best k, only passages already seen are looked up in their lists.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

MAX_COUNT = 65_535


@njit(cache=True, nogil=True)
def count_terms(
    pieces: np.ndarray, starts: np.ndarray, piece_indptr: np.ndarray, piece_terms: np.ndarray, num_terms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(indptr, passages, counts) of passages given as pieces, and pieces given as terms.

    pieces: numbers of all passages' pieces end to end, those of passage n from starts[n] to starts[n + 1].
    """
    num_passages = len(starts) - 1
    indptr = np.zeros(num_terms + 1, np.int64)
    last = np.full(num_terms, -1, np.int32)
    for n in range(num_passages):
        for piece in pieces[starts[n] : starts[n + 1]]:
            for t in piece_terms[piece_indptr[piece] : piece_indptr[piece + 1]]:
                if last[t] != n:
                    last[t] = n
                    indptr[t + 1] += 1
    indptr = np.cumsum(indptr)
    passages = np.empty(indptr[-1], np.int32)
    counts = np.empty(indptr[-1], np.uint16)
    fill = indptr[:-1].copy()
    last[:] = -1
    for n in range(num_passages):
        for piece in pieces[starts[n] : starts[n + 1]]:
            for t in piece_terms[piece_indptr[piece] : piece_indptr[piece + 1]]:
                at = fill[t]
                if last[t] != n:
                    last[t] = n
                    passages[at], counts[at] = n, 1
                    fill[t] += 1
                elif counts[at - 1] < MAX_COUNT:
                    counts[at - 1] += 1
    return indptr, passages, counts


@njit(cache=True, nogil=True)
def sum_pieces(pieces: np.ndarray, starts: np.ndarray, piece_values: np.ndarray) -> np.ndarray:
    """(N,) sum of a value per piece over the pieces of each passage."""
    sums = np.zeros(len(starts) - 1, np.int32)
    for n in range(len(sums)):
        for piece in pieces[starts[n] : starts[n + 1]]:
            sums[n] += piece_values[piece]
    return sums


@njit(cache=True, nogil=True)
def copy_postings(
    term_map: np.ndarray,
    passage_map: np.ndarray,
    indptr: np.ndarray,
    passages: np.ndarray,
    counts: np.ndarray,
    fill: np.ndarray,
    to_passages: np.ndarray,
    to_counts: np.ndarray,
) -> None:
    """Append the postings of living passages to a merged array, moving fill[t] along.

    term_map: (T,) number of each term in the merged array; passage_map: (N,) new number of a passage, −1 if dead.
    """
    for t in range(len(indptr) - 1):
        at = fill[term_map[t]]
        for p in range(indptr[t], indptr[t + 1]):
            n = passage_map[passages[p]]
            if n >= 0:
                to_passages[at], to_counts[at] = n, counts[p]
                at += 1
        fill[term_map[t]] = at


@njit(cache=True, nogil=True)
def count_dead(indptr: np.ndarray, passages: np.ndarray, is_dead: np.ndarray) -> np.ndarray:
    """(T,) how many dead passages each term occurs in."""
    dead_T = np.zeros(len(indptr) - 1, np.int32)
    for t in range(len(dead_T)):
        for p in range(indptr[t], indptr[t + 1]):
            dead_T[t] += is_dead[passages[p]]
    return dead_T


@njit(cache=True, nogil=True)
def best_impacts(
    indptr: np.ndarray, passages: np.ndarray, counts: np.ndarray, fields: np.ndarray, norms_FN: np.ndarray
) -> np.ndarray:
    """(T,) each term's largest tf / (tf + norm): a bound on what it can add to a score, before idf and weight."""
    best_T = np.zeros(len(indptr) - 1, np.float32)
    for t in range(len(best_T)):
        norms = norms_FN[fields[t]]
        for p in range(indptr[t], indptr[t + 1]):
            best_T[t] = max(best_T[t], counts[p] / (counts[p] + norms[passages[p]]))
    return best_T


@njit(cache=True, nogil=True)
def _push(heap: np.ndarray, score: float) -> None:
    """Put a score in the place of the least one, which is heap[0]."""
    at = 0
    while True:
        child = 2 * at + 1
        if child + 1 < len(heap) and heap[child + 1] < heap[child]:
            child += 1
        if child >= len(heap) or heap[child] >= score:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = score


@njit(cache=True, nogil=True)
def _kth_best(scores: np.ndarray, seen: np.ndarray, num_seen: int, heap: np.ndarray) -> float:
    """The least of the heap after the scores of the passages seen have gone through it."""
    for i in range(num_seen):
        if scores[seen[i]] > heap[0]:
            _push(heap, scores[seen[i]])
    return heap[0]


@njit(cache=True, nogil=True)
def _find(ascending: np.ndarray, low: int, high: int, wanted: int | np.uint64) -> int:
    """The first place from low on whose number is not before the wanted one, high where there is none."""
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _find_hash(hashes_T: np.ndarray, wanted: np.uint64) -> int:
    """The first term whose hash is not before the wanted one. Hashes lie evenly: the place is guessed, then closed in
    on, which reads a few of them where halving reads one far from the other each time."""
    num_terms = len(hashes_T)
    guess = min(int(np.float64(wanted) / 2.0**64 * num_terms), num_terms - 1)
    low, high, step = guess, guess, 64
    while low > 0 and hashes_T[low] >= wanted:
        low, step = max(low - step, 0), step * 2
    step = 64
    while high < num_terms and hashes_T[high] < wanted:
        high, step = min(high + step, num_terms), step * 2
    return _find(hashes_T, low, high, wanted)


@njit(cache=True, nogil=True)
def look_up(
    hashes_T: np.ndarray, indptr: np.ndarray, dead_T: np.ndarray, hashes_Q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(terms_Q, frequencies_Q): the number of each term, −1 where it is not here, and in how many living passages.

    dead_T: in how many dead passages each term occurs; empty where none is dead.
    """
    terms_Q, frequencies_Q = np.full(len(hashes_Q), -1, np.int64), np.zeros(len(hashes_Q), np.int64)
    for q in range(len(hashes_Q) if len(hashes_T) else 0):
        t = _find_hash(hashes_T, hashes_Q[q])
        if t < len(hashes_T) and hashes_T[t] == hashes_Q[q]:
            terms_Q[q], frequencies_Q[q] = t, indptr[t + 1] - indptr[t]
            if len(dead_T):
                frequencies_Q[q] -= dead_T[t]
    return terms_Q, frequencies_Q


@njit(cache=True, nogil=True)
def weigh(
    hashes_Q: np.ndarray, fields_Q: np.ndarray, counts_Q: np.ndarray, frequencies_Q: np.ndarray, num_living: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(order_Q, hashes_Q, fields_Q, weights_Q), heaviest first: idf times how much a term counts in the question."""
    weights_Q = np.empty(len(hashes_Q))
    for q in range(len(hashes_Q)):
        weights_Q[q] = counts_Q[q] * math.log(1 + (num_living - frequencies_Q[q] + 0.5) / (frequencies_Q[q] + 0.5))
    by_hash = np.argsort(hashes_Q)
    order_Q = by_hash[np.argsort(-weights_Q[by_hash], kind="mergesort")]
    return order_Q, hashes_Q[order_Q], fields_Q[order_Q], weights_Q[order_Q]


@njit(cache=True, nogil=True)
def _keep_possible(scores: np.ndarray, seen: np.ndarray, num_seen: int, needed: float) -> int:
    """Forget passages that score less than is needed; returns how many are left in seen."""
    kept = 0
    for i in range(num_seen):
        if scores[seen[i]] >= needed:
            seen[kept] = seen[i]
            kept += 1
        else:
            scores[seen[i]] = 0.0
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def search(
    indptr: np.ndarray,
    passages: np.ndarray,
    counts: np.ndarray,
    norms_FN: np.ndarray,
    bounds_T: np.ndarray,
    stretch_F: np.ndarray,
    terms_Q: np.ndarray,
    fields_Q: np.ndarray,
    weights_Q: np.ndarray,
    k: int,
    floor: float,
    scores: np.ndarray,
    seen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(passages, scores) of all that score at least as much as the k-th best, in no order.

    Terms come heaviest first; a term of −1 does not occur here. norms_FN is infinite for dead passages. bounds_T: each
    term's best impact, stretch_F times which holds here. floor: a score below which nothing is wanted. scores, (N,)
    float32 of zeros, and seen, (N + 1,) uint32, are room to work in; scores are zeros again afterwards.
    """
    remaining = np.zeros(len(terms_Q) + 1, np.float64)
    for q in range(len(terms_Q) - 1, -1, -1):
        bound = min(bounds_T[terms_Q[q]] * stretch_F[fields_Q[q]], 1.0) if terms_Q[q] >= 0 else 0.0
        remaining[q] = remaining[q + 1] + weights_Q[q] * bound
    heap = np.empty(k, np.float32)
    num_seen, needed, closed = 0, floor, False
    for q in range(len(terms_Q)):
        if terms_Q[q] < 0:
            continue
        norms, weight = norms_FN[fields_Q[q]], weights_Q[q]
        start, end = indptr[terms_Q[q]], indptr[terms_Q[q] + 1]
        closed = closed or needed * 0.99999 > remaining[q]  # a margin for float32 sums
        heap[:] = needed
        if not closed:
            for p in range(start, end):
                n = passages[p]
                old = scores[n]
                score = old + np.float32(weight * (counts[p] / (counts[p] + norms[n])))
                seen[num_seen] = n
                num_seen += (old == 0.0) & (score > 0.0)  # without a branch, which nobody could foresee
                scores[n] = score
                if score > heap[0]:
                    _push(heap, float(score))
        else:
            num_seen = _keep_possible(scores, seen, num_seen, needed * 0.99999 - remaining[q])
            if num_seen * 30 < end - start:
                for i in range(num_seen):
                    n = seen[i]
                    p = _find(passages, start, end, n)
                    if p < end and passages[p] == n:
                        scores[n] += np.float32(weight * (counts[p] / (counts[p] + norms[n])))
            else:
                for p in range(start, end):
                    n = passages[p]
                    score = np.float32(weight * (counts[p] / (counts[p] + norms[n])))
                    scores[n] += score if scores[n] > 0.0 else np.float32(0.0)
            _kth_best(scores, seen, num_seen, heap)
        needed = heap[0]
    heap[:] = floor
    needed = _kth_best(scores, seen, num_seen, heap)
    num_seen = _keep_possible(scores, seen, num_seen, needed)
    found = seen[:num_seen].copy()
    found_scores = scores[found]
    for i in range(num_seen):
        scores[found[i]] = 0.0
    return found, found_scores


@njit(cache=True, nogil=True)
def scores_of(
    indptr: np.ndarray,
    passages: np.ndarray,
    counts: np.ndarray,
    norms_FN: np.ndarray,
    terms_Q: np.ndarray,
    fields_Q: np.ndarray,
    weights_Q: np.ndarray,
    wanted: np.ndarray,
) -> np.ndarray:
    """The scores of the wanted passages alone, added up in the same order as `search` does."""
    scores = np.zeros(len(wanted), np.float32)
    for q in range(len(terms_Q)):
        if terms_Q[q] >= 0:
            start, end = indptr[terms_Q[q]], indptr[terms_Q[q] + 1]
            for i in range(len(wanted)):
                p = _find(passages, start, end, wanted[i])
                if p < end and passages[p] == wanted[i]:
                    impact = counts[p] / (counts[p] + norms_FN[fields_Q[q], wanted[i]])
                    scores[i] += np.float32(weights_Q[q] * impact)
    return scores
