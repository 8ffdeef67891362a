"""BM25 over content morphemes plus a lighter BM25 over character bigrams, by bm25s.

Shapes: N passages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import bm25s
import numpy as np

from korean_llm import console
from korean_llm.retrieval.analyzer import bigram_terms, morpheme_terms

Analyzer = Literal["kiwi+bigram", "kiwi", "bigram"]

K1, B = 0.9, 0.75
BIGRAM_WEIGHT = 0.3
_BATCH = 1_000


class Lexical:
    """One or two BM25 indexes over the same passages; the score is their weighted sum.

    BM25 is Lucene's variant (Kamphuis et al. 2020): Σ idf(t) · tf / (tf + k1 · (1 − b + b · length / mean length)),
    idf(t) = ln(1 + (N − df + 0.5) / (df + 0.5)).
    """

    def __init__(self, fields: dict[str, bm25s.BM25], weights: dict[str, float]) -> None:
        self.fields, self.weights = fields, weights

    @classmethod
    def build(cls, texts: Sequence[str], analyzer: Analyzer) -> Lexical:
        """Index the texts."""
        weights = field_weights(analyzer)
        fields = {}
        for name in weights:
            terms = list(console.progress(_terms(name, texts), f"indexing {name}", len(texts)))
            fields[name] = bm25s.BM25(k1=K1, b=B, method="lucene")
            fields[name].index(_numbered(terms if any(terms) else [["∅"] for _ in terms]), show_progress=False)
        return cls(fields, weights)

    def save(self, folder: Path) -> None:
        """Write one folder per field."""
        for name, field in self.fields.items():
            field.save(folder / name, show_progress=False)

    @classmethod
    def open(cls, folder: Path, analyzer: Analyzer) -> Lexical:
        """Open memory-mapped."""
        weights = field_weights(analyzer)
        return cls({name: bm25s.BM25.load(folder / name, mmap=True) for name in weights}, weights)

    def scores(self, query: str) -> np.ndarray:
        """Scores of all passages, shape (N,)."""
        total_N = np.zeros(next(iter(self.fields.values())).scores["num_docs"])
        for name, field in self.fields.items():
            terms = next(_terms(name, [query]))
            if terms:
                total_N += self.weights[name] * field.get_scores(terms)
        return total_N


def field_weights(analyzer: Analyzer) -> dict[str, float]:
    """Field → weight: bigrams count less beside morphemes, fully alone."""
    if analyzer == "kiwi+bigram":
        return {"morphemes": 1.0, "bigrams": BIGRAM_WEIGHT}
    return {"morphemes": 1.0} if analyzer == "kiwi" else {"bigrams": 1.0}


def _numbered(texts: list[list[str]]) -> tuple[list[list[int]], dict[str, int]]:
    """Terms as numbers, in the order in which they appear: bm25s' own order differs from process to process."""
    vocabulary: dict[str, int] = {}
    return [[vocabulary.setdefault(term, len(vocabulary)) for term in text] for text in texts], vocabulary


def _terms(field: str, texts: Sequence[str]) -> Iterator[list[str]]:
    if field == "bigrams":
        yield from map(bigram_terms, texts)
        return
    for start in range(0, len(texts), _BATCH):
        yield from morpheme_terms(texts[start : start + _BATCH])
