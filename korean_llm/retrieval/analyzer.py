"""What is indexed of a Korean text: content morphemes with whole noun compounds, and character bigrams.

Particles, endings and light verbs stand in nearly every sentence and only add noise; a compound that is written
without a space is one more, rarer word. Bigrams catch what a morpheme analysis misses: typos and missing spaces.

Every eojeol is analysed by itself and only once. A word then has the same terms in every question and passage, and
Korean text repeats itself enough to make this 4 to 10 times as fast as analysing whole texts. `exact` analyses whole
texts, where an eojeol's neighbours may decide what it means.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Literal, NamedTuple

from korean_llm.kiwi import Morpheme, analyse, guarded
from korean_llm.retrieval.dictionary import MARK, Dictionary

RULES_VERSION = 3
"""Raised whenever the terms of a text change; an index of other rules must be rebuilt."""

Fields = Literal["kiwi+bigram", "kiwi", "bigram"]

NOUNS = frozenset({"NNG", "NNP", "NR", "SN", "SL", "SH", "XR"})
CONTENT = NOUNS | {"VV", "VA", "W_URL", "W_EMAIL", "W_MENTION", "W_HASHTAG", "W_SERIAL"}
_IN_COMPOUND = NOUNS | {"NNB", "XPN", "XSN"}
LIGHT_VERBS = frozenset({"하", "되", "있", "없", "같", "이러", "그러", "어떠", "이렇", "그렇", "어떻", "않", "말"})
_WORD = re.compile(r"\w+")
_MAX_KNOWN = 500_000
_MAX_KNOWN_CHARS = 40


class Terms(NamedTuple):
    """The terms of a piece of text, field by field, in order and as often as they occur."""

    morphemes: list[str]
    bigrams: list[str]


class Analyzer:
    """Text → pieces → terms. A piece is an eojeol, a dictionary term found, or with `exact` the whole text."""

    def __init__(self, fields: Fields = "kiwi+bigram", exact: bool = False, dictionary: tuple[str, ...] = ()) -> None:
        self.fields, self.exact, self.terms_of_dictionary = fields, exact, dictionary
        self.dictionary = Dictionary(dictionary, _parts(dictionary)) if dictionary else None
        self._known: dict[str, Terms] = {}

    def pieces(self, text: str) -> list[str]:
        """What of a text is analysed one by one."""
        prepared = prepare(text)
        eojeols = [prepared] if self.exact else prepared.split()
        return eojeols if self.dictionary is None else eojeols + self.dictionary.found(prepared)

    def analysed(self, pieces: Sequence[str]) -> list[Terms]:
        """The terms of each piece, in order; eojeols seen before in this process are not analysed again."""
        # `get`, because another thread may empty the store between a look and a read
        known = [self._known.get(piece) for piece in pieces]
        if None not in known:
            return known  # type: ignore[return-value]
        found = {piece: terms for piece in pieces if (terms := self._known.get(piece)) is not None}
        if new := [piece for piece in dict.fromkeys(pieces) if piece not in found]:
            found.update(zip(new, self._fresh(new), strict=True))
            self._keep({piece: found[piece] for piece in new if len(piece) <= _MAX_KNOWN_CHARS})
        return [found[piece] for piece in pieces]

    def _fresh(self, pieces: Sequence[str]) -> list[Terms]:
        words = self.dictionary.words if self.dictionary else ()
        plain = [piece for piece in pieces if not Dictionary.is_mark(piece)]
        morphemes = iter(analyse(plain, words)) if self.fields != "bigram" else iter([[]] * len(plain))
        return [self._marked(piece) if Dictionary.is_mark(piece) else self._plain(piece, morphemes) for piece in pieces]

    def _marked(self, piece: str) -> Terms:
        return Terms([Dictionary.term(piece)], []) if self.fields != "bigram" else Terms([], [])

    def _plain(self, piece: str, morphemes: Iterator[list[Morpheme]]) -> Terms:
        own = list(self._content(next(morphemes)))
        return Terms(own, bigrams(piece) if self.fields != "kiwi" else [])

    def _content(self, morphemes: list[Morpheme]) -> Iterator[str]:
        """Content morphemes, then every run of two or more nouns inside an eojeol as one whole."""
        parts = self.dictionary.parts if self.dictionary else {}
        for form, tag, _ in morphemes:
            if tag in CONTENT and not (tag in ("VV", "VA") and form in LIGHT_VERBS):
                yield from parts.get(form) or (form,)
        for (_, is_noun), run in groupby(morphemes, key=lambda m: (m.eojeol, m.tag in _IN_COMPOUND)):
            forms = [morpheme.form for morpheme in run] if is_noun else []
            if len(forms) > 1:
                yield "".join(forms)

    def terms(self, text: str) -> Terms:
        """The terms of a text, piece by piece."""
        found = self.analysed(self.pieces(text))
        return Terms(
            [term for terms in found for term in terms.morphemes], [term for terms in found for term in terms.bigrams]
        )

    def _keep(self, new: dict[str, Terms]) -> None:
        while len(self._known) + len(new) > _MAX_KNOWN and self._known:
            self._known.popitem()  # the latest: common words are met early
        if not self.exact:
            self._known.update(new)


@lru_cache(maxsize=8)
def analyzer(fields: Fields = "kiwi+bigram", exact: bool = False, dictionary: tuple[str, ...] = ()) -> Analyzer:
    """The one analyzer of these settings in this process, so that all indexes share what is known."""
    return Analyzer(fields, exact, dictionary)


def _parts(dictionary: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Each dictionary term without its spaces → its content morphemes as Kiwi sees them without the dictionary."""
    plain = Analyzer("kiwi")
    words = [prepare(term) for term in dictionary]
    return {"".join(word.split()): tuple(dict.fromkeys(plain.terms(word).morphemes)) for word in words}


def prepare(text: str) -> str:
    """NFC, lower case, endless repeats cut short; queries and passages alike."""
    return guarded(unicodedata.normalize("NFC", text).lower()).replace(MARK, " ")


def morpheme_terms(texts: Iterable[str]) -> Iterator[list[str]]:
    """The content terms of each text, in order."""
    for text in texts:
        yield analyzer("kiwi").terms(text).morphemes


def bigram_terms(text: str) -> list[str]:
    """Character bigrams within words; a word of one character is itself a term."""
    return bigrams(prepare(text))


def bigrams(prepared: str) -> list[str]:
    """Character bigrams of a text that is prepared already."""
    terms: list[str] = []
    for word in _WORD.findall(prepared):
        terms.extend([word] if len(word) == 1 else (word[at : at + 2] for at in range(len(word) - 1)))
    return terms
