"""Many texts at once → posting lists: every piece of text is analysed once, on as many processes as are wanted.

Shapes: K pieces known, N passages, T terms, P postings, F fields.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash

from korean_llm import console
from korean_llm.retrieval.analyzer import Analyzer, Terms
from korean_llm.retrieval.postings import count_terms, sum_pieces
from korean_llm.retrieval.workers import Workers

FIELDS = ("morphemes", "bigrams")
_TEXTS, _PIECES = 2_000, 2_000


@dataclass(frozen=True)
class Counted:
    """The terms of N passages.

    hashes_T: (T,) uint64, ascending; fields_T: (T,) 0 for a morpheme, 1 for a bigram; indptr: (T + 1,);
    passages, counts: (P,); lengths_FN: terms of each field in each passage.
    """

    hashes_T: np.ndarray
    fields_T: np.ndarray
    indptr: np.ndarray
    passages: np.ndarray
    counts: np.ndarray
    lengths_FN: np.ndarray


@lru_cache(maxsize=200_000)
def term_hash(field: int, term: str) -> int:
    """64 bits that stand for a term of a field; two of ten million terms share theirs with probability 3e-6."""
    return xxhash.xxh3_64_intdigest((FIELDS[field][0] + term).encode())


def split_texts(analyzer: Analyzer, texts: Sequence[str]) -> tuple[list[str], bytes, bytes]:
    """(different pieces, numbers of all pieces as int32, pieces per text as int32)."""
    known: dict[str, int] = {}
    numbers, sizes = array("i"), array("i")
    for text in texts:
        pieces = analyzer.pieces(text)
        numbers.extend([known.setdefault(piece, len(known)) for piece in pieces])
        sizes.append(len(pieces))
    return list(known), numbers.tobytes(), sizes.tobytes()


def hash_pieces(analyzer: Analyzer, pieces: Sequence[str]) -> tuple[bytes, bytes]:
    """(terms per piece and field, (K, F) int32; hashes of all terms, uint64), field after field within a piece."""
    sizes, hashes = array("i"), array("Q")
    for terms in analyzer.analysed(pieces):
        for field, found in enumerate(Terms(*terms)):
            sizes.append(len(found))
            hashes.extend([term_hash(field, term) for term in found])
    return sizes.tobytes(), hashes.tobytes()


def count_texts(analyzer: Analyzer, texts: Sequence[str], workers: Workers) -> Counted:
    """Analyse the texts and count their terms."""
    pieces, stream, starts = _split(texts, workers)
    hashes, fields, indptr, sizes_KF = _hash(pieces, workers)
    hashes_T, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    fields_T = fields[first]
    terms = inverse.astype(np.int32)
    indptr_T, passages, counts = count_terms(stream, starts, indptr, terms, len(hashes_T))
    lengths_FN = np.stack(
        [sum_pieces(stream, starts, np.ascontiguousarray(sizes_KF[:, f])) for f in range(len(FIELDS))]
    )
    return Counted(hashes_T, fields_T, indptr_T, passages, counts, lengths_FN)


def _split(texts: Sequence[str], workers: Workers) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(all different pieces, the texts as numbers of pieces, where each text starts in them)."""
    known: dict[str, int] = {}
    streams, sizes = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    chunks = [texts[at : at + _TEXTS] for at in range(0, len(texts), _TEXTS)]
    for pieces, numbers, size in console.progress(workers.map(split_texts, chunks), "reading words", len(chunks)):
        to_known = np.array([known.setdefault(piece, len(known)) for piece in pieces], dtype=np.int32)
        streams.append(to_known[np.frombuffer(numbers, np.int32)] if pieces else np.zeros(0, np.int32))
        sizes.append(np.frombuffer(size, np.int32))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes), dtype=np.int64)])
    return list(known), np.concatenate(streams), starts


def _hash(pieces: list[str], workers: Workers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(hashes of all pieces' terms, their fields, where each piece starts in them, sizes (K, F))."""
    sizes, hashes = [np.zeros(0, np.int32)], [np.zeros(0, np.uint64)]
    chunks = [pieces[at : at + _PIECES] for at in range(0, len(pieces), _PIECES)]
    for size, found in console.progress(workers.map(hash_pieces, chunks), "analysing words", len(chunks)):
        sizes.append(np.frombuffer(size, np.int32))
        hashes.append(np.frombuffer(found, np.uint64))
    sizes_KF = np.concatenate(sizes).reshape(-1, len(FIELDS))
    fields = np.repeat(np.tile(np.arange(len(FIELDS), dtype=np.uint8), len(sizes_KF)), sizes_KF.ravel())
    indptr = np.concatenate([[0], np.cumsum(sizes_KF.sum(axis=1), dtype=np.int64)])
    return np.concatenate(hashes), fields, indptr, sizes_KF
