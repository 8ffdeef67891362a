"""The Korean words that new tokens are learned from, cut as the base's tokenizer cuts them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from math import floor
from pathlib import Path

import numpy as np

from korean_llm.corpus.documents import TRAIN, read_documents, read_shares
from korean_llm.errors import KoreanLLMError
from korean_llm.vocabulary.family import Family
from korean_llm.vocabulary.learn import LETTER_BYTES, Words

_MANY_WORDS = 100_000
_ANALYSED_WORDS = 20_000


def korean_texts(corpus: Path, max_bytes: int, seed: int) -> Iterator[str]:
    """Korean training documents, about max_bytes of UTF-8 at most, mixed by the corpus's shares as training mixes them.

    A source that is smaller than its share is read more than once, one that is larger is thinned evenly. Which
    documents are read depends on their ids and the seed alone, not on their order.
    """
    path = corpus / TRAIN
    sizes: Counter[str] = Counter()
    for document in read_documents(path):
        if document.language == "ko":
            sizes[document.source] += len(document.text.encode())
    times = readings(sizes, read_shares(corpus), max_bytes)
    for document in read_documents(path):
        if document.language == "ko":
            yield from repeat(document.text, floor(times[document.source] + _position(document.id, seed)))


def readings(sizes: Mapping[str, int], shares: Mapping[str, float], max_bytes: int) -> dict[str, float]:
    """How often each source is read: all in proportion to their shares, none left out in part unless max_bytes asks.

    Args:
        sizes: bytes of each source that is not empty.
        shares: share of each of them and of others.
        max_bytes: bytes that are read in all, at most.
    """
    wanted = sum(shares[source] for source in sizes)
    total = min(max_bytes, max((size * wanted / shares[source] for source, size in sizes.items()), default=0))
    return {source: total * shares[source] / wanted / size for source, size in sizes.items()}


def _position(id: str, seed: int) -> float:
    """A number in [0, 1) that is fixed by id and seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:6]) / 2**48


def count_runs(family: Family, texts: Iterable[str]) -> tuple[Counter[str], int]:
    """Runs of Hangul with their counts, and the bytes of text they come from.

    Raises KoreanLLMError where the texts hold no Hangul.
    """
    counts: Counter[str] = Counter()
    num_bytes = 0
    for text in texts:
        num_bytes += len(text.encode())
        counts.update(family.run.findall(family.normalized(text)))
    if not counts:
        raise KoreanLLMError(
            "the corpus has no Korean training text to learn tokens from; name a Korean corpus in corpus.sources,"
            " or leave the section 'vocabulary' out of the recipe."
        )
    return counts, num_bytes


def cut_words(family: Family, counts: Counter[str], with_morphemes: bool) -> Words:
    """The runs as the base cuts them, with the places where Kiwi sees a morpheme begin in the most frequent ones.

    Of very many different runs those that occur once are left out: 5 % of the text of 16 MB of rulings and manuals.
    """
    least = 2 if len(counts) > _MANY_WORDS else 1
    chosen = sorted((run for run, count in counts.items() if count >= least), key=lambda run: (-counts[run], run))
    symbols, lengths = family.cut(chosen)
    letters: list[bytes] = []
    if family.any_split:
        symbols, lengths, letters = _letters_whole(family, symbols, lengths)
    starts = morpheme_starts(chosen[:_ANALYSED_WORDS]) if with_morphemes else []
    return Words(
        symbols, lengths, np.array([counts[run] for run in chosen]), _edges(family, symbols, lengths, starts), letters
    )


def _letters_whole(
    family: Family, symbols: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    """Symbols with a number ≥ first_id for each letter that is written in byte tokens, lengths, and these letters."""
    byte = np.full(family.first_id, -1)
    for id, raw in family.raw.items():
        if len(raw) == 1 and raw[0] >= 0x80:
            byte[id] = raw[0]
    places_L3 = np.flatnonzero(byte[symbols] >= 0).reshape(-1, LETTER_BYTES)
    spelled_L3 = byte[symbols[places_L3]].astype(np.uint8)
    letters: dict[bytes, int] = {}
    symbols[places_L3[:, 0]] = [family.first_id + letters.setdefault(raw.tobytes(), len(letters)) for raw in spelled_L3]
    kept = np.ones(len(symbols), np.bool_)
    kept[places_L3[:, 1:]] = False
    word = np.repeat(np.arange(len(lengths)), lengths)
    return symbols[kept], np.bincount(word[kept], minlength=len(lengths)), list(letters)


def _edges(family: Family, symbols: np.ndarray, lengths: np.ndarray, starts: Sequence[set[int]]) -> np.ndarray:
    """Whether a word, or a morpheme of one of the first words, begins at a symbol."""
    edges = np.zeros(len(symbols), np.bool_)
    first = np.cumsum(lengths) - lengths
    edges[first] = True
    if not starts:
        return edges
    width = np.full(max(family.first_id, int(symbols.max()) + 1), LETTER_BYTES)
    for id, raw in family.raw.items():
        width[id] = len(raw)
    widths = width[symbols]
    offset = np.cumsum(widths) - widths
    begun = [int(offset[at]) + start for at, found in zip(first, starts, strict=False) for start in found]
    return edges | np.isin(offset, begun)


def morpheme_starts(runs: Sequence[str]) -> list[set[int]]:
    """For every run, the UTF-8 offsets behind its beginning where a morpheme begins."""
    from korean_llm.kiwi import starts

    found = []
    for run, places in zip(runs, starts(run.strip() for run in runs), strict=True):
        space = len(run) - len(run.strip())
        found.append({space + len(run.strip()[:place].encode()) for place in places if place})
    return found
