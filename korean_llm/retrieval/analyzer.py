"""What is indexed of a Korean text: content morphemes with whole noun compounds, and character bigrams.

Particles, endings and light verbs stand in nearly every sentence and only add noise; a compound that is written
without a space is one more, rarer word. Bigrams catch what a morpheme analysis misses: typos and missing spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby

from korean_llm.kiwi import Morpheme, analyse

RULES_VERSION = 1
"""Raised whenever the terms of a text change; an index of other rules must be rebuilt."""

NOUNS = frozenset({"NNG", "NNP", "NR", "SN", "SL", "SH", "XR"})
CONTENT = NOUNS | {"VV", "VA", "W_URL", "W_EMAIL", "W_MENTION", "W_HASHTAG", "W_SERIAL"}
_IN_COMPOUND = NOUNS | {"NNB", "XPN", "XSN"}
LIGHT_VERBS = frozenset({"하", "되", "있", "없", "같", "이러", "그러", "어떠", "이렇", "그렇", "어떻", "않", "말"})
_WORD = re.compile(r"\w+")


def prepare(text: str) -> str:
    """NFC and lower case; queries and passages alike."""
    return unicodedata.normalize("NFC", text).lower()


def morpheme_terms(texts: Iterable[str]) -> Iterator[list[str]]:
    """The content terms of each text, in order."""
    for morphemes in analyse([prepare(text) for text in texts]):
        yield [term for _, group in groupby(morphemes, key=lambda m: m.eojeol) for term in _eojeol_terms(list(group))]


def _eojeol_terms(morphemes: list[Morpheme]) -> Iterator[str]:
    """Content morphemes of one eojeol, and every run of two or more nouns in it as one whole."""
    for morpheme in morphemes:
        if morpheme.tag in CONTENT and not (morpheme.tag in ("VV", "VA") and morpheme.form in LIGHT_VERBS):
            yield morpheme.form
    for is_noun, run in groupby(morphemes, key=lambda m: m.tag in _IN_COMPOUND):
        forms = [morpheme.form for morpheme in run] if is_noun else []
        if len(forms) > 1:
            yield "".join(forms)


def bigram_terms(text: str) -> list[str]:
    """Character bigrams within words; a word of one character is itself a term."""
    terms: list[str] = []
    for word in _WORD.findall(prepare(text)):
        terms.extend([word] if len(word) == 1 else (word[at : at + 2] for at in range(len(word) - 1)))
    return terms
