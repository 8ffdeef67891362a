"""Learn new tokens by going on where the base's own byte pair encoding stopped, over Hangul only.

Byte pair encoding after Sennrich et al. 2016 (arXiv 1508.07909): the most frequent pair of neighbours is joined,
again and again. Here words start as the base's tokens, and a pair counts only where it may be joined:

1. Its bytes prove a Hangul character, so the merge cannot fire in a text that holds none.
2. Its result is not a token yet. So no base merge and no earlier merge is ever fed by a later one: every text is
   cut as the base cuts it, and only afterwards are neighbours joined; prove.py checks this on every text.
3. Its result, written alone, comes out as this one token, so every new token can be produced.

SentencePiece-BPE joins whatever neighbours spell a piece, so there a pair that spells an earlier new token becomes
that token at no cost; and a letter without a piece of its own (three byte tokens) has to become one before it can be
part of a longer one, which is taken in turn by the tokens it saves.

A pair's worth is what it saves, less a share for the places where it would cut a morpheme (`kiwi_weight`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from korean_llm.vocabulary import pairs as core

LETTER_BYTES = 3


@dataclass(frozen=True)
class Merge:
    """A new token.

    Attributes:
        id: its id.
        parts: the two ids it joins; the three byte tokens of a letter that had no token.
        raw: its bytes.
        base_ids: the base's ids for these bytes.
        count: how often the parts stood side by side in the text when they were joined.
        tokens_left: tokens of the whole learning text after this merge.
    """

    id: int
    parts: tuple[int, ...]
    raw: bytes
    base_ids: list[int]
    count: int
    tokens_left: int


@dataclass(frozen=True)
class Words:
    """Different words as the base cuts them. P symbols of all words one after the other, W words.

    Attributes:
        symbols: base ids; a letter written in byte tokens is one symbol, a number ≥ first_id.
        lengths: symbols of each word.
        counts: how often each word occurs.
        edges: whether a morpheme begins at a symbol; all False but the first where this is not known.
        letters: bytes of the symbols ≥ first_id, in order.
    """

    symbols: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    letters: list[bytes]


@dataclass(frozen=True)
class Rules:
    """How the base's family of tokenizers joins.

    Attributes:
        raw: bytes of every token of the base, by id.
        first_id: id of the first new token.
        encode: bytes → the base's ids for a word of these bytes, None where it has none.
        any_split: whether neighbours are joined by what they spell (SentencePiece), not by which they are.
        refused: results that must not become tokens.
    """

    raw: dict[int, bytes]
    first_id: int
    encode: Callable[[bytes], list[int] | None]
    any_split: bool = False
    refused: frozenset[bytes] = frozenset()


class Learner:
    """Pair counts over unique words, kept up to date merge by merge.

    A word is touched only by merges that occur in it. Counts of a pair only fall once its two tokens exist, so a
    heap whose entries are checked when they come up always yields the best pair; ties go to lower ids.

    Args:
        words: the words; their arrays are not changed.
        rules: the base's tokens and how they join.
        min_count: a pair seen less often is never joined.
        kiwi_weight: share of an occurrence that is not counted where the joined token would cut a morpheme, in [0, 1].
    """

    def __init__(self, words: Words, rules: Rules, min_count: int, kiwi_weight: float = 0.0) -> None:
        self._rules = rules
        self._taken = set(rules.raw.values())
        self._new: dict[bytes, int] = {}
        """New token's bytes → its symbol."""
        self._ids: dict[int, int] = {}
        """Symbol of a new token → its id."""
        self._merged: dict[tuple[int, int], int] = {}
        self._raw = dict(rules.raw)
        self._raw.update(enumerate(words.letters, rules.first_id))
        self._next_symbol = rules.first_id + len(words.letters)
        self._limits = min_count, round(core.SCALE * kiwi_weight)
        self._text = _text(words)
        self._symbols = _symbols(self._raw, self._next_symbol, rules.first_id)
        self._slots = core.index()
        self._pairs = _pairs(len(words.symbols), bool(words.letters))
        core.count(self._text, self._symbols, self._pairs, self._slots, core.index(), *self._limits)
        self.start_tokens = self.tokens

    @property
    def tokens(self) -> int:
        """Tokens of the whole learning text as it is cut now."""
        return int(self._pairs.size[3])

    def produced(self) -> dict[int, int]:
        """How often each new token stands in the learning text as it is cut now, by id."""
        used = self._text.symbol >= 0
        counts = np.bincount(self._text.symbol[used], self._text.weight[used], self._next_symbol)
        return {id: int(counts[symbol]) for symbol, id in self._ids.items()}

    def merges(self) -> Iterator[Merge]:
        """New tokens, best first, until no pair is left that occurs min_count times."""
        while (slot := core.take(self._pairs, *self._limits)) >= 0:
            if self._pairs.second[slot] < 0:
                yield self._buy(slot)
            elif (merge := self._join(slot)) is not None:
                yield merge

    def _buy(self, slot: int) -> Merge:
        """Make a letter written in byte tokens a token."""
        symbol, count = int(self._pairs.first[slot]), int(self._pairs.total[slot])
        raw = self._raw[symbol]
        base_ids = self._rules.encode(raw)
        assert base_ids is not None and len(base_ids) == LETTER_BYTES, raw
        self._enter(symbol, raw)
        self._reserve(2 * count)
        core.buy(self._text, self._symbols, self._pairs, self._slots, slot, *self._limits)
        return Merge(self._ids[symbol], tuple(base_ids), raw, base_ids, count, self.tokens)

    def _join(self, slot: int) -> Merge | None:
        """Join a pair; None where that makes no new token."""
        pair = int(self._pairs.first[slot]), int(self._pairs.second[slot])
        count = int(self._pairs.total[slot])
        raw = self._raw[pair[0]] + self._raw[pair[1]]
        if self._rules.any_split and (known := self._new.get(raw)) is not None:
            self._put(slot, known, count)
            return None
        base_ids = None if raw in self._taken or raw in self._rules.refused else self._rules.encode(raw)
        if not base_ids or not self._spelled_alone(pair, raw, base_ids):
            return None
        symbol = self._next_symbol
        self._next_symbol += 1
        self._raw[symbol] = raw
        self._merged[pair] = symbol
        self._enter(symbol, raw)
        self._symbols = _with(self._symbols, symbol, raw)
        self._put(slot, symbol, count)
        parts = tuple(self._ids.get(part, part) for part in pair)
        return Merge(self._ids[symbol], parts, raw, base_ids, count, self.tokens)

    def _enter(self, symbol: int, raw: bytes) -> None:
        self._ids[symbol] = self._rules.first_id + len(self._ids)
        self._taken.add(raw)
        self._new[raw] = symbol

    def _put(self, slot: int, symbol: int, count: int) -> None:
        self._reserve(2 * count)
        core.join(self._text, self._symbols, self._pairs, self._slots, slot, symbol, *self._limits)

    def _spelled_alone(self, pair: tuple[int, int], raw: bytes, base_ids: list[int]) -> bool:
        """Whether the base and the merges so far cut these bytes into what the new merge joins to one token.

        They do not where equal neighbours overlap (the same letter three times and more).
        """
        if not self._rules.any_split:
            return self._cut(base_ids) == list(pair)
        return not _overlaps_itself(raw) and len(self._cut(self._letters_joined(base_ids))) == len(pair)

    def _letters_joined(self, ids: list[int]) -> list[int]:
        """Byte tokens of letters that are new tokens put together; the other ids as they are."""
        out: list[int] = []
        i = 0
        while i < len(ids):
            letter = self._new.get(b"".join(self._raw[id] for id in ids[i : i + LETTER_BYTES]))
            single = letter is not None and all(len(self._raw[id]) == 1 for id in ids[i : i + LETTER_BYTES])
            out.append(letter if single and letter is not None else ids[i])
            i += LETTER_BYTES if single else 1
        return out

    def _cut(self, ids: list[int]) -> list[int]:
        """Apply the merges so far to base ids, earliest first (a new token's id is its rank)."""
        ids = list(ids)
        while True:
            ranked = [(self._ids[new], i) for i, pair in enumerate(pairwise(ids)) if (new := self._joined(pair))]
            if not ranked:
                return ids
            _, i = min(ranked)
            ids[i : i + 2] = [self._joined((ids[i], ids[i + 1])) or 0]

    def _joined(self, pair: tuple[int, int]) -> int | None:
        """The symbol of the new token that two neighbours become."""
        if self._rules.any_split:
            return self._new.get(self._raw[pair[0]] + self._raw[pair[1]])
        return self._merged.get(pair)

    def _reserve(self, num: int) -> None:
        """Room for `num` more pairs and heap entries."""
        num = min(num, 2 * len(self._text.symbol))
        if max(self._pairs.size[0], self._pairs.size[2]) + num < min(
            len(self._pairs.first), len(self._pairs.heap_slot)
        ):
            return
        arrays = self._pairs._asdict()
        for size, names in ((0, core.SLOT_ARRAYS), (2, core.HEAP_ARRAYS)):
            if int(self._pairs.size[size]) + num >= len(arrays[names[0]]):
                grown = 2 * len(arrays[names[0]]) + num
                arrays |= {name: np.resize(arrays[name], grown) for name in names}
        self._pairs = core.Pairs(**arrays)


def _overlaps_itself(raw: bytes) -> bool:
    """Whether a text begins as it ends, unless it is a letter twice.

    Where such a text stands twice, overlapping, the two kinds of tokenizer file differ in which comes first.
    """
    text = raw.decode()
    return len(text) > 2 and any(text.endswith(text[:i]) for i in range(1, len(text)))


def _text(words: Words) -> core.Text:
    num = len(words.symbols)
    ends = np.cumsum(words.lengths)
    following, previous = np.arange(1, num + 1, dtype=np.int32), np.arange(-1, num - 1, dtype=np.int32)
    following[ends - 1] = -1
    previous[ends - words.lengths] = -1
    return core.Text(
        words.symbols.astype(np.int32),
        following,
        previous,
        np.repeat(words.counts, words.lengths).astype(np.int32),
        words.edges.astype(np.bool_),
        np.zeros(num, np.bool_),
    )


def _symbols(raw: dict[int, bytes], num: int, first_letter: int) -> core.Symbols:
    pieces = [raw.get(i, b"") for i in range(num)]
    end = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    begin = np.concatenate([[0], end[:-1]]).astype(np.int32)
    owned = np.arange(num) < first_letter
    return core.Symbols(np.frombuffer(b"".join(pieces), np.uint8).copy(), begin, end, owned)


def _with(symbols: core.Symbols, symbol: int, raw: bytes) -> core.Symbols:
    """Symbols with one more; the arrays grow by doubling."""
    buffer, begin, end, owned = symbols
    start = int(end[symbol - 1])
    if start + len(raw) > len(buffer):
        buffer = np.resize(buffer, 2 * len(buffer) + len(raw))
    if symbol >= len(end):
        begin, end, owned = (np.resize(array, 2 * len(array) + 1) for array in (begin, end, owned))
    buffer[start : start + len(raw)] = np.frombuffer(raw, np.uint8)
    begin[symbol], end[symbol], owned[symbol] = start, start + len(raw), True
    return core.Symbols(buffer, begin, end, owned)


def _pairs(num_symbols: int, with_letters: bool) -> core.Pairs:
    slots, nodes = num_symbols + 1024, (5 if with_letters else 3) * num_symbols + 1024
    whole, small = (lambda n: np.zeros(n, np.int64)), (lambda n: np.zeros(n, np.int32))
    return core.Pairs(
        small(slots), small(slots), whole(slots), whole(slots), small(slots), whole(slots),
        small(nodes), small(nodes), whole(slots), small(slots), np.zeros(5, np.int64),
    )  # fmt: skip
