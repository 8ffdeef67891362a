"""What an index holds on a question: the best passages, and their sentences scored.

Sentence scores follow BM25 (Robertson & Zaragoza 2009) over content morphemes, plus a lighter one over character
bigrams, with document frequencies taken over the sentences found; where the index has an encoder, the cosine of
question and sentence joins by z-score, and a sentence gains where it holds the kind of thing asked for.
Shapes: S sentences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from korean_llm.answering.asked import asked_kind
from korean_llm.kiwi import sentences
from korean_llm.retrieval import Hit, Index
from korean_llm.retrieval.analyzer import bigram_terms, morpheme_terms
from korean_llm.retrieval.index import checked_question

NUM_HITS = 8
NUM_READ = 3
"""Passages whose sentences may be cited; the others only tell which terms are common."""

MAX_ENCODED = 14
"""Sentences whose cosine is taken, those with the question's terms first: encoding is what an answer costs."""

K1, B = 0.9, 0.5
BIGRAM_WEIGHT = 0.3
DENSE_WEIGHT = 0.8
PASSAGE_WEIGHT = 0.5
KIND_WEIGHT = 0.5
"""A sentence that holds the kind of thing asked for, such as a number with the unit asked for, gains so much."""


@dataclass(frozen=True)
class Sentence:
    """Characters start … end of a document, from the passage hit.

    Attributes:
        score: higher for a likelier answer.
        cosine: of the question and the sentence; None where it was not taken.
    """

    hit: Hit
    start: int
    end: int
    text: str
    score: float
    cosine: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The passages on a question, best first, and the sentences of the best ones, in reading order.

    Attributes:
        terms: content terms of the question.
    """

    question: str
    hits: list[Hit]
    terms: list[str]
    sentences: list[Sentence]


def gather(index: Index, question: str) -> Evidence:
    """Search, and score sentences. Raises KoreanLLMError for an empty question or one of over 10,000 characters."""
    question = checked_question(question)
    hits = index.search(question, k=NUM_HITS)
    terms = next(iter(morpheme_terms([question])))
    return Evidence(question, hits, terms, _scored(index, question, hits[:NUM_READ]))


def _scored(index: Index, question: str, hits: Sequence[Hit]) -> list[Sentence]:
    spans = [(hit, start, end) for hit in hits for start, end in sentences(hit.text)]
    texts = [hit.text[start:end] for hit, start, end in spans]
    if not texts:
        return []
    plain_S = lexical_scores(question, texts)
    score_S, cosines = _z(plain_S), _cosines(index, question, texts, plain_S)
    if cosines:
        least = min(cosines.values())
        cosine_S = np.array([cosines.get(number, least) for number in range(len(texts))])
        score_S = (1 - DENSE_WEIGHT) * score_S + DENSE_WEIGHT * _z(cosine_S)
    score_S = score_S + PASSAGE_WEIGHT * _z(np.array([hit.score for hit, _, _ in spans]))
    if (holds := asked_kind(question)) is not None:
        score_S = score_S + KIND_WEIGHT * np.array([holds(text) for text in texts])
    return [
        Sentence(hit, hit.start + start, hit.start + end, text, float(score), cosines.get(number))
        for number, ((hit, start, end), text, score) in enumerate(zip(spans, texts, score_S, strict=True))
    ]


def lexical_scores(question: str, texts: Sequence[str]) -> np.ndarray:
    """BM25 of each text over content morphemes, plus a lighter one over character bigrams, shape (S,)."""
    if not texts:
        return np.zeros(0)
    asked = next(iter(morpheme_terms([question])))
    score_S = _bm25(asked, list(morpheme_terms(texts)))
    return score_S + BIGRAM_WEIGHT * _bm25(bigram_terms(question), [bigram_terms(text) for text in texts])


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


def _rarity(terms: Iterable[str], texts: Sequence[Iterable[str]]) -> dict[str, float]:
    """BM25's inverse document frequency of each term over a few texts: ln(1 + (N − df + 0.5) / (df + 0.5))."""
    frequency = Counter(term for text in texts for term in set(text))
    return {term: math.log(1 + (len(texts) - frequency[term] + 0.5) / (frequency[term] + 0.5)) for term in terms}


def _cosines(index: Index, question: str, texts: list[str], lexical_S: np.ndarray) -> dict[int, float]:
    """Number of a text → its cosine with the question, of the lexically best ones; empty without an encoder."""
    if index.dense is None:
        return {}
    chosen = np.argsort(-lexical_S, kind="stable")[:MAX_ENCODED].tolist()
    encoder = index.dense.encoder
    vectors_SD = encoder.passages([texts[number] for number in chosen])
    return dict(zip(chosen, (vectors_SD @ encoder.query(question)).tolist(), strict=True))


def _z(scores_S: np.ndarray) -> np.ndarray:
    spread = scores_S.std()
    return (scores_S - scores_S.mean()) / spread if spread > 0 else np.zeros_like(scores_S)
