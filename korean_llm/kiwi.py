"""Korean morphemes and sentences by Kiwi. The only module that imports kiwipiepy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from typing import NamedTuple

from kiwipiepy import Kiwi

_REPEATS = re.compile(r"(.)\1{19,}", re.DOTALL)
_DIGITS = re.compile(r"[0-9]{33,}")
_MIN_GUARDED_CHARS = 20


class Morpheme(NamedTuple):
    """A morpheme: its form, its Sejong tag (irregular marks cut off), and the number of its eojeol in the text."""

    form: str
    tag: str
    eojeol: int = 0


@lru_cache(maxsize=2)
def _kiwi(words: tuple[str, ...]) -> Kiwi:
    kiwi = Kiwi()
    for word in words:
        kiwi.add_user_word(word, "NNP")
    return kiwi


def version() -> str:
    """The version that decides how text is analysed, kept in every index."""
    return metadata.version("kiwipiepy")


def guarded(text: str) -> str:
    """The text with endless repeats and digit runs cut short: they cost Kiwi time and memory and mean nothing."""
    if len(text) < _MIN_GUARDED_CHARS:
        return text
    return _DIGITS.sub(lambda match: match[0][:32], _REPEATS.sub(lambda match: match[1] * 3, text))


def analyse(texts: Iterable[str], words: tuple[str, ...] = ()) -> Iterator[list[Morpheme]]:
    """The morphemes of each text, in order, on one thread.

    words: names that Kiwi is to know besides its own dictionary.
    """
    kiwi = _kiwi(words)
    for text in texts:
        tokens = kiwi.tokenize(guarded(text))
        yield [Morpheme(token.form, token.tag.partition("-")[0], token.word_position) for token in tokens]


def starts(texts: Iterable[str]) -> Iterator[list[int]]:
    """The places in each text, in characters, where a morpheme begins; a contraction counts as its first one."""
    known = list(texts)
    analyses = _kiwi(()).tokenize([guarded(text) for text in known])
    for text, tokens in zip(known, analyses, strict=True):
        yield sorted({token.start for token in tokens}) if guarded(text) == text else [0]


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence, in characters of the text; white space between them is left out."""
    if not text.strip():
        return []
    if guarded(text) != text:  # offsets would not fit the cut text
        return [(0, len(text))]
    return [(sentence.start, sentence.end) for sentence in _kiwi(()).split_into_sents(text)]
