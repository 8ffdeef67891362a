"""What is indexed of a Korean text: content morphemes with whole noun compounds, and character bigrams.

Particles, endings and light verbs stand in nearly every sentence and only add noise; a compound that is written
without a space is one more, rarer word. Bigrams catch what a morpheme analysis misses: typos and missing spaces.

Every eojeol is analysed by itself and only once. A word then has the same terms in every question and passage, and
Korean text repeats itself enough to make this 4 to 10 times as fast as analysing whole texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby

from korean_llm.kiwi import Morpheme, analyse, guarded

RULES_VERSION = 2
"""Raised whenever the terms of a text change; an index of other rules must be rebuilt."""

NOUNS = frozenset({"NNG", "NNP", "NR", "SN", "SL", "SH", "XR"})
CONTENT = NOUNS | {"VV", "VA", "W_URL", "W_EMAIL", "W_MENTION", "W_HASHTAG", "W_SERIAL"}
_IN_COMPOUND = NOUNS | {"NNB", "XPN", "XSN"}
LIGHT_VERBS = frozenset({"하", "되", "있", "없", "같", "이러", "그러", "어떠", "이렇", "그렇", "어떻", "않", "말"})
_WORD = re.compile(r"\w+")
_MAX_KNOWN = 500_000
_MAX_KNOWN_CHARS = 40

_known: dict[str, list[str]] = {}
"""Terms of eojeols already analysed in this process; emptied when full."""


def prepare(text: str) -> str:
    """NFC, lower case, endless repeats cut short; queries and passages alike."""
    return guarded(unicodedata.normalize("NFC", text).lower())


def morpheme_terms(texts: Iterable[str]) -> Iterator[list[str]]:
    """The content terms of each text, in order."""
    eojeols_of = [prepare(text).split() for text in texts]
    terms_of = _analysed({eojeol for eojeols in eojeols_of for eojeol in eojeols})
    for eojeols in eojeols_of:
        yield [term for eojeol in eojeols for term in terms_of[eojeol]]


def _analysed(eojeols: set[str]) -> dict[str, list[str]]:
    """The terms of each eojeol; what is not known yet is analysed and, unless it is freakishly long, kept."""
    # `get`, because another thread may empty the store between a look and a read
    found = {eojeol: terms for eojeol in eojeols if (terms := _known.get(eojeol)) is not None}
    new = sorted(eojeols - found.keys())
    found.update((eojeol, list(_eojeol_terms(part))) for eojeol, part in zip(new, analyse(new), strict=True))
    if len(_known) + len(new) > _MAX_KNOWN:
        _known.clear()
    _known.update((eojeol, found[eojeol]) for eojeol in new[:_MAX_KNOWN] if len(eojeol) <= _MAX_KNOWN_CHARS)
    return found


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
