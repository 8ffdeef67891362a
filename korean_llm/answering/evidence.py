"""What an index holds on a question: the best passages, and how likely each of their sentences is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from korean_llm.answering.scoring import Candidate, scored
from korean_llm.kiwi import sentences
from korean_llm.retrieval import Hit, Index
from korean_llm.retrieval.analyzer import morpheme_terms
from korean_llm.retrieval.index import checked_question

NUM_HITS = 8
NUM_READ = 4
"""Passages whose sentences may be cited; the others are for language models and for the near misses."""


@dataclass(frozen=True)
class Sentence:
    """Characters start … end of a document, from the passage hit.

    Attributes:
        score: higher for a likelier answer; e to the power of it is proportional to how likely.
        nearness: the cosine with the question of the small passage around it; None without an encoder.
    """

    hit: Hit
    start: int
    end: int
    text: str
    score: float
    nearness: float | None = None


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
    read = candidates(index, question, hits)
    found = [
        Sentence(one.hit, one.start, one.end, one.text, float(score), one.nearness)
        for one, score in zip(read, scored(question, read), strict=True)
    ]
    return Evidence(question, hits, terms, found)


def candidates(index: Index, question: str, hits: Sequence[Hit]) -> list[Candidate]:
    """The sentences of the best hits, in reading order."""
    found = []
    for hit in hits[:NUM_READ]:
        small = index.nearness(question, hit)
        for first, last in _spans(hit.text):
            start, end = hit.start + first, hit.start + last
            found.append(Candidate(hit, start, end, hit.text[first:last], _nearest(small, start, end)))
    return found


def _nearest(small: Sequence[tuple[int, int, float]], start: int, end: int) -> float | None:
    """The largest cosine of the small passages that hold some of the characters start … end, else of all."""
    holding = [cosine for first, last, cosine in small if first < end and start < last]
    return max(holding or [cosine for _, _, cosine in small], default=None)


@lru_cache(maxsize=2_000)
def _spans(text: str) -> list[tuple[int, int]]:
    """The sentences of a passage; the last ones are kept, for many questions lead to the same passages."""
    return sentences(text)
