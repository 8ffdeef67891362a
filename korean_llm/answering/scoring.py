"""How likely each sentence of the passages found is to hold the answer: a softmax over weighted features.

The weights maximise the likelihood of the sentences that hold the answer (a conditional logit, McFadden 1974; ListNet's
top one, Cao et al. 2007) on half of the shipped questions: `python tests/benchmarks/sentences.py INDEX` fits them anew.
Nothing is encoded for it: meaning comes from the vectors that the index keeps of its small passages, context from the
sentences before. BM25 is that of Robertson & Zaragoza 2009, its document frequencies those of the sentences found.
Shapes: S sentences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from korean_llm.answering.asked import asked_kind
from korean_llm.retrieval import Hit
from korean_llm.retrieval.analyzer import bigram_terms, morpheme_terms

K1, B = 0.9, 0.5
BIGRAM_WEIGHT = 0.3

HYBRID = {
    "morphemes": 0.36,
    "bigrams": 0.28,
    "nearness": 0.55,
    "passage": 0.81,
    "kind": 2.75,
    "length": 0.53,
    "before": 0.32,
    "second_before": 0.26,
}
LEXICAL = {
    "morphemes": 0.41,
    "bigrams": 0.35,
    "passage": 1.19,
    "kind": 2.89,
    "length": 0.50,
    "before": 0.41,
    "second_before": 0.31,
}


class Candidate(NamedTuple):
    """A sentence of a hit: characters start … end of its document.

    nearness: the cosine with the question of the nearest small passage that holds some of it, None without an encoder.
    """

    hit: Hit
    start: int
    end: int
    text: str
    nearness: float | None


def scored(question: str, candidates: Sequence[Candidate]) -> np.ndarray:
    """(S,) the score of each candidate; e to the power of it is proportional to how likely it holds the answer."""
    if not candidates:
        return np.zeros(0)
    found = features(question, candidates)
    weights = HYBRID if "nearness" in found else LEXICAL
    return np.sum([weight * found[name] for name, weight in weights.items()], axis=0)


def features(question: str, candidates: Sequence[Candidate]) -> Mapping[str, np.ndarray]:
    """Feature → (S,); all but `kind` as z-scores over the candidates.

    morphemes, bigrams: BM25; nearness, passage: how well the text around fits; kind: the share of the kinds of thing
    asked for that the sentence holds; before, second_before: `morphemes` of the sentences before it in its passage.
    """
    texts = [candidate.text for candidate in candidates]
    own_S = bm25(next(iter(morpheme_terms([question]))), list(morpheme_terms(texts)))
    found = {
        "morphemes": own_S,
        "bigrams": bm25(bigram_terms(question), [bigram_terms(text) for text in texts]),
        "passage": np.array([candidate.hit.score for candidate in candidates]),
        "length": np.array([math.log(1 + len(text)) for text in texts]),
        "before": _earlier(own_S, candidates, 1),
        "second_before": _earlier(own_S, candidates, 2),
    }
    nearness = [candidate.nearness for candidate in candidates]
    if None not in nearness:
        found["nearness"] = np.array(nearness, dtype=np.float64)
    holds = asked_kind(question)
    kind_S = np.array([0.0 if holds is None else holds(text) for text in texts])
    return {**{name: _z(values_S) for name, values_S in found.items()}, "kind": kind_S}


def _earlier(values_S: np.ndarray, candidates: Sequence[Candidate], back: int) -> np.ndarray:
    """The value of the sentence so many places before in the same passage, 0 where there is none, shape (S,)."""
    earlier_S = np.zeros(len(candidates))
    for at in range(back, len(candidates)):
        if candidates[at - back].hit == candidates[at].hit:
            earlier_S[at] = values_S[at - back]
    return earlier_S


def lexical_scores(question: str, texts: Sequence[str]) -> np.ndarray:
    """BM25 of each text over content morphemes, plus a lighter one over character bigrams, shape (S,)."""
    asked = next(iter(morpheme_terms([question])))
    own_S = bm25(asked, list(morpheme_terms(texts)))
    return own_S + BIGRAM_WEIGHT * bm25(bigram_terms(question), [bigram_terms(text) for text in texts])


def bm25(asked: list[str], texts: list[list[str]]) -> np.ndarray:
    """BM25 of each text, given as its terms, shape (S,)."""
    if not texts:
        return np.zeros(0)
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


def _z(values_S: np.ndarray) -> np.ndarray:
    spread = values_S.std()
    return (values_S - values_S.mean()) / spread if spread > 0 else np.zeros_like(values_S)
