"""Learn new tokens by going on where the base's own byte-level BPE stopped, over Hangul only.

Byte pair encoding after Sennrich et al. 2016 (arXiv 1508.07909): the most frequent pair of neighbours is merged,
again and again. Here words start as the base's tokens, not as bytes, and a pair counts only where it may be merged:

1. Its bytes prove a Hangul character, so the merge cannot fire in a text that holds none.
2. Its result is not a token yet. So no base merge and no earlier merge is ever fed by a later one: every text is
   cut as the base cuts it, and only afterwards are neighbours joined. Putting a new token's base tokens in its
   place gives back exactly the base's ids; prove.py checks this on every text.
3. Its result, written alone, comes out as this one token, so every new token can be produced.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from korean_llm.hangul import holds_hangul_bytes

Pair = tuple[int, int]


@dataclass(frozen=True)
class Merge:
    """A new token.

    Attributes:
        id: its id.
        pair: the two ids it joins.
        raw: its bytes.
        base_ids: the base's ids for these bytes.
        count: how often the pair stood in the text when it was merged.
    """

    id: int
    pair: Pair
    raw: bytes
    base_ids: list[int]
    count: int


class Learner:
    """Pair counts over unique words, kept up to date merge by merge.

    A word is touched only by merges that occur in it. Counts of a pair only fall once its two tokens exist, so a
    heap whose entries are checked when they come up always yields the most frequent pair; ties go to lower ids.

    Args:
        words: (base ids of a word, how often it occurs), each word once. The lists are changed in place.
        raw: bytes of every token of the base, by id.
        first_id: id of the first new token.
        min_count: a pair seen less often is never merged.
        encode: bytes → the base's ids for a word of these bytes, None where it has none.
    """

    def __init__(
        self,
        words: list[tuple[list[int], int]],
        raw: dict[int, bytes],
        first_id: int,
        min_count: int,
        encode: Callable[[bytes], list[int] | None],
    ) -> None:
        self._words = words
        self._raw = dict(raw)
        self._taken = set(raw.values())
        self._next_id = first_id
        self._min_count = min_count
        self._encode = encode
        self._merged: dict[Pair, int] = {}
        self._mergeable: dict[Pair, bool] = {}
        self._pairs: dict[Pair, int] = defaultdict(int)
        self._where: dict[Pair, list[int]] = defaultdict(list)
        for index, (ids, count) in enumerate(words):
            for pair in pairwise(ids):
                self._add(pair, index, count)
        self._heap: list[tuple[int, Pair]] = []
        self._push(self._pairs)

    def merges(self) -> Iterator[Merge]:
        """New tokens, most frequent pair first, until no pair is left that occurs min_count times."""
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            current = self._pairs.get(pair, 0)
            if current != -count:
                self._push([pair])
                continue
            raw = self._raw[pair[0]] + self._raw[pair[1]]
            if raw in self._taken or (base_ids := self._spelled_alone(pair, raw)) is None:
                self._refuse(pair)
                continue
            merge = Merge(self._next_id, pair, raw, base_ids, current)
            self._apply(merge)
            yield merge

    def _may_merge(self, pair: Pair) -> bool:
        known = self._mergeable.get(pair)
        if known is None:
            known = self._mergeable[pair] = holds_hangul_bytes(self._raw[pair[0]] + self._raw[pair[1]])
        return known

    def _add(self, pair: Pair, index: int, count: int) -> None:
        if self._may_merge(pair):
            self._pairs[pair] += count
            self._where[pair].append(index)

    def _subtract(self, pair: Pair, count: int) -> None:
        if pair in self._pairs:
            self._pairs[pair] -= count

    def _push(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            count = self._pairs.get(pair, 0)
            if count >= self._min_count:
                heapq.heappush(self._heap, (-count, pair))

    def _refuse(self, pair: Pair) -> None:
        self._mergeable[pair] = False
        del self._pairs[pair], self._where[pair]

    def _spelled_alone(self, pair: Pair, raw: bytes) -> list[int] | None:
        """Base ids of the joined bytes, if the base and the merges so far cut them into exactly this pair.

        They do not where equal neighbours overlap (the same letter three times and more).
        """
        base_ids = self._encode(raw)
        return base_ids if base_ids and self._join(base_ids) == list(pair) else None

    def _join(self, ids: list[int]) -> list[int]:
        """Apply the merges so far to base ids, earliest first (a new token's id is its rank)."""
        ids = list(ids)
        while True:
            ranked = [(self._merged[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in self._merged]
            if not ranked:
                return ids
            token, i = min(ranked)
            ids[i : i + 2] = [token]

    def _apply(self, merge: Merge) -> None:
        """Put the new token in every word that holds the pair, and count the pairs that come and go."""
        new, pair = merge.id, merge.pair
        self._next_id += 1
        self._raw[new] = merge.raw
        self._taken.add(merge.raw)
        self._merged[pair] = new
        touched: set[Pair] = set()
        for index in self._where.pop(pair):
            self._merge_word(index, pair, new, touched)
        del self._pairs[pair]
        self._push(touched)

    def _merge_word(self, index: int, pair: Pair, new: int, touched: set[Pair]) -> None:
        first, second = pair
        ids, count = self._words[index]
        out: list[int] = []
        i, last = 0, len(ids) - 1
        while i <= last:
            if i == last or ids[i] != first or ids[i + 1] != second:
                out.append(ids[i])
                i += 1
                continue
            if out:
                self._subtract((out[-1], first), count)
                self._add((out[-1], new), index, count)
                touched.add((out[-1], new))
            if i + 2 <= last:
                self._subtract((second, ids[i + 2]), count)
                self._add((new, ids[i + 2]), index, count)
                touched.add((new, ids[i + 2]))
            out.append(new)
            i += 2
        self._words[index] = (out, count)
