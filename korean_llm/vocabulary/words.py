"""The Korean words that new tokens are learned from, cut as the base's tokenizer cuts them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, repeat
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
    cut = family.cut(run.encode() for run in chosen)
    starts = morpheme_starts(chosen[:_ANALYSED_WORDS]) if with_morphemes else []
    letters: dict[bytes, int] = {}
    symbols: list[int] = []
    lengths: list[int] = []
    edges: list[bool] = []
    for i, ids in enumerate(cut):
        if family.any_split:
            ids = _letters_whole(family, ids, letters)
        symbols += ids
        lengths.append(len(ids))
        edges.append(True)
        if i < len(starts):
            raw = [family.raw.get(id, b"   ") for id in ids[:-1]]
            edges += [at in starts[i] for at in accumulate(map(len, raw))]
        else:
            edges += [False] * (len(ids) - 1)
    return Words(
        np.array(symbols, np.int32),
        np.array(lengths, np.int32),
        np.array([counts[run] for run in chosen], np.int64),
        np.array(edges, np.bool_),
        list(letters),
    )


def _letters_whole(family: Family, ids: Sequence[int], letters: dict[bytes, int]) -> list[int]:
    """Ids with a number ≥ first_id for each letter that is written in byte tokens; `letters` collects them."""
    out: list[int] = []
    i = 0
    while i < len(ids):
        if len(family.raw[ids[i]]) == 1 and family.raw[ids[i]][0] >= 0x80:
            raw = b"".join(family.raw[id] for id in ids[i : i + LETTER_BYTES])
            out.append(family.first_id + letters.setdefault(raw, len(letters)))
            i += LETTER_BYTES
        else:
            out.append(ids[i])
            i += 1
    return out


def morpheme_starts(runs: Sequence[str]) -> list[set[int]]:
    """For every run, the UTF-8 offsets behind its beginning where a morpheme begins."""
    from korean_llm.kiwi import starts

    found = []
    for run, places in zip(runs, starts(run.strip() for run in runs), strict=True):
        space = len(run) - len(run.strip())
        found.append({space + len(run.strip()[:place].encode()) for place in places if place})
    return found
