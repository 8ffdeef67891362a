"""What an index holds on a question: the best passages, their sentences scored, and whether they are about it at all.

Sentence scores follow BM25 (Robertson & Zaragoza 2009) over content morphemes, plus a lighter one over character
bigrams, with document frequencies taken over the sentences found; where the index has an encoder, the cosine of
question and sentence joins by z-score. Shapes: S sentences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from korean_llm.kiwi import sentences
from korean_llm.retrieval import Hit, Index
from korean_llm.retrieval.analyzer import bigram_terms, morpheme_terms
from korean_llm.retrieval.index import checked_question

if TYPE_CHECKING:
    from korean_llm.retrieval.dense import Dense

NUM_HITS = 8
NUM_READ = 3
"""Passages whose sentences may be cited; the others only tell which terms are common."""

MIN_COVERAGE = 0.15
"""Below it, the question counts as not answered here. Of the shipped questions 96 % lie above, of unrelated ones 73 %
below; it was chosen on those same questions."""

K1, B = 0.9, 0.5
BIGRAM_WEIGHT = 0.3
DENSE_WEIGHT = 0.8
PASSAGE_WEIGHT = 0.5


@dataclass(frozen=True)
class Sentence:
    """Characters start … end of a document, from the passage hit; score is higher for a likelier answer."""

    hit: Hit
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True)
class Evidence:
    """The passages on a question, best first.

    Attributes:
        terms: content terms of the question.
        coverage: share, in [0, 1], of the question's content terms, each weighted by its rarity among the passages,
            that the passage with the most of them holds.
    """

    question: str
    hits: list[Hit]
    terms: list[str]
    coverage: float

    @property
    def relevant(self) -> bool:
        """Whether the passages are about the question."""
        return self.coverage >= MIN_COVERAGE


def gather(index: Index, question: str) -> Evidence:
    """Search. Raises KoreanLLMError for an empty question or one of over 10,000 characters."""
    question = checked_question(question)
    hits = index.search(question, k=NUM_HITS)
    asked = next(iter(morpheme_terms([question])))
    terms = [set(found) for found in morpheme_terms([f"{hit.title}\n{hit.text}" for hit in hits])]
    return Evidence(
        question=question,
        hits=hits,
        terms=asked,
        coverage=_coverage(set(asked), terms),
    )


def _coverage(asked: set[str], passages: list[set[str]]) -> float:
    rarity = _rarity(asked, passages)
    total = sum(rarity.values())
    held = [sum(rarity[term] for term in asked & terms) for terms in passages[:NUM_READ]]
    return max(held, default=0.0) / total if total else 0.0


def _rarity(terms: Iterable[str], texts: Sequence[Iterable[str]]) -> dict[str, float]:
    """BM25's inverse document frequency of each term over a few texts: ln(1 + (N − df + 0.5) / (df + 0.5))."""
    frequency = Counter(term for text in texts for term in set(text))
    return {term: math.log(1 + (len(texts) - frequency[term] + 0.5) / (frequency[term] + 0.5)) for term in terms}


def score_sentences(index: Index, evidence: Evidence) -> list[Sentence]:
    """The sentences of the best passages in reading order, passage after passage."""
    question = evidence.question
    spans = [(hit, start, end) for hit in evidence.hits[:NUM_READ] for start, end in sentences(hit.text)]
    texts = [hit.text[start:end] for hit, start, end in spans]
    if not texts:
        return []
    score_S = _bm25(evidence.terms, list(morpheme_terms(texts)))
    score_S += BIGRAM_WEIGHT * _bm25(bigram_terms(question), [bigram_terms(text) for text in texts])
    score_S = _z(score_S)
    if index.dense is not None:
        score_S = (1 - DENSE_WEIGHT) * score_S + DENSE_WEIGHT * _z(_cosines(index.dense, question, texts))
    score_S += PASSAGE_WEIGHT * _z(np.array([hit.score for hit, _, _ in spans]))
    return [
        Sentence(hit, hit.start + start, hit.start + end, text, float(score))
        for (hit, start, end), text, score in zip(spans, texts, score_S, strict=True)
    ]


def _bm25(asked: list[str], texts: list[list[str]]) -> np.ndarray:
    """BM25 of each text, shape (S,)."""
    rarity = _rarity(set(asked), texts)
    mean_length = sum(map(len, texts)) / len(texts) or 1.0
    scores = []
    for text in texts:
        count = Counter(text)
        norm = K1 * (1 - B + B * len(text) / mean_length)
        scores.append(sum(weight * count[term] / (count[term] + norm) for term, weight in rarity.items()))
    return np.array(scores, dtype=np.float64)


def _cosines(dense: Dense, question: str, texts: list[str]) -> np.ndarray:
    """Cosine of the question with each text, shape (S,)."""
    return np.asarray(dense.encoder.passages(texts) @ dense.encoder.query(question), dtype=np.float64)


def _z(scores_S: np.ndarray) -> np.ndarray:
    spread = scores_S.std()
    return (scores_S - scores_S.mean()) / spread if spread > 0 else np.zeros_like(scores_S)
