"""Pairs of neighbours in the words of a corpus, counted and joined by compiled loops over flat arrays.

P positions (symbols of all words, one after the other), S slots (one for each pair seen).
A pair's places are a linked list of positions that is only added to; a place is checked when it is visited.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.typed import Dict

SCALE = 16
"""Scores are whole numbers: SCALE × occurrences less the penalty for those that cut a morpheme."""
SLOT_ARRAYS = ("first", "second", "total", "bad", "head", "stamp")
HEAP_ARRAYS = ("heap_score", "heap_slot")
_NONE = -1
_REFUSED = -2


class Text(NamedTuple):
    """The words, each array (P,). `next`, `previous`: positions, −1 at a word's ends; `symbol`: −1 once swallowed.

    `edge`: a morpheme begins here; `inner`: a morpheme begins inside this symbol.
    """

    symbol: np.ndarray
    next: np.ndarray
    previous: np.ndarray
    weight: np.ndarray
    edge: np.ndarray
    inner: np.ndarray


class Symbols(NamedTuple):
    """Bytes of every symbol in one buffer, and whether it is a token (a letter that is none cannot be joined)."""

    buffer: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    owned: np.ndarray


class Pairs(NamedTuple):
    """What is known of every pair: SLOT_ARRAYS are (S,). `place`, `link`: the lists of places.

    `size`: [slots, nodes, heap entries, tokens in all words, stamp].
    """

    first: np.ndarray
    second: np.ndarray
    total: np.ndarray
    bad: np.ndarray
    head: np.ndarray
    stamp: np.ndarray
    place: np.ndarray
    link: np.ndarray
    heap_score: np.ndarray
    heap_slot: np.ndarray
    size: np.ndarray


def index() -> Any:
    """An empty pair → slot table."""
    return Dict.empty(types.int64, types.int32)


@njit(cache=True)
def _proves_hangul(buffer: Any, begin: int, end: int, next_begin: int, next_end: int) -> bool:
    """hangul.holds_hangul_bytes for two neighbours' bytes."""
    length = end - begin
    total = length + next_end - next_begin
    for i in range(total):
        byte = buffer[begin + i] if i < length else buffer[next_begin + i - length]
        if 0xEB <= byte <= 0xED:
            return True
        if (byte != 0xEA and byte != 0xE1 and byte != 0xE3) or i + 1 >= total:
            continue
        after = buffer[begin + i + 1] if i + 1 < length else buffer[next_begin + i + 1 - length]
        if (
            (byte == 0xEA and after >= 0xB0)
            or (byte == 0xE1 and 0x84 <= after <= 0x87)
            or (byte == 0xE3 and after == 0x85)
        ):
            return True
        if byte == 0xE3 and i + 2 < total and (after == 0x84 or after == 0x86):
            last = buffer[begin + i + 2] if i + 2 < length else buffer[next_begin + i + 2 - length]
            if (after == 0x84 and last >= 0xB0) or (after == 0x86 and last <= 0x8F):
                return True
    return False


@njit(cache=True)
def _find(slots: Any, key: Any) -> int:
    """The slot under a key, or −1."""
    if key in slots:
        return int(slots[key])
    return _NONE


@njit(cache=True)
def _cuts_badly(text: Text, at: int) -> bool:
    """Whether the joined pair would hold a morpheme's border and begin or end inside a morpheme."""
    follower = text.next[at]
    if not (text.inner[at] or text.inner[follower] or text.edge[follower]):
        return False
    after = text.next[follower]
    return not (text.edge[at] and (after < 0 or text.edge[after]))


@njit(cache=True)
def _add(text: Text, symbols: Symbols, pairs: Pairs, slots: Any, at: int) -> int:
    """Count the pair that begins at a position; its slot, or a negative number where it cannot be joined."""
    follower = text.next[at]
    if follower < 0:
        return _NONE
    first, second = text.symbol[at], text.symbol[follower]
    if not (symbols.owned[first] and symbols.owned[second]):
        return _NONE
    key = (np.int64(first) << 32) | np.int64(second)
    slot = _find(slots, key)
    if slot == _NONE:
        if not _proves_hangul(
            symbols.buffer, symbols.begin[first], symbols.end[first], symbols.begin[second], symbols.end[second]
        ):
            slots[key] = np.int32(_REFUSED)
            return _REFUSED
        slot = _new_slot(pairs, first, second)
        slots[key] = np.int32(slot)
    if slot < 0:
        return _REFUSED
    _note(text, pairs, slot, at, _cuts_badly(text, at))
    return slot


@njit(cache=True)
def _new_slot(pairs: Pairs, first: int, second: int) -> int:
    slot = pairs.size[0]
    pairs.size[0] += 1
    pairs.first[slot] = first
    pairs.second[slot] = second
    pairs.total[slot] = 0
    pairs.bad[slot] = 0
    pairs.head[slot] = _NONE
    pairs.stamp[slot] = 0
    return int(slot)


@njit(cache=True)
def _note(text: Text, pairs: Pairs, slot: int, at: int, bad: bool) -> None:
    weight = text.weight[at]
    pairs.total[slot] += weight
    if bad:
        pairs.bad[slot] += weight
    node = pairs.size[1]
    pairs.size[1] += 1
    pairs.place[node] = at
    pairs.link[node] = pairs.head[slot]
    pairs.head[slot] = node


@njit(cache=True)
def _subtract(text: Text, pairs: Pairs, slots: Any, at: int) -> None:
    follower = text.next[at]
    key = (np.int64(text.symbol[at]) << 32) | np.int64(text.symbol[follower])
    slot = _find(slots, key)
    if slot >= 0:
        pairs.total[slot] -= text.weight[at]
        if _cuts_badly(text, at):
            pairs.bad[slot] -= text.weight[at]


@njit(cache=True)
def score(pairs: Pairs, slot: int, penalty: int) -> int:
    """Tokens saved by joining a pair, in 1/SCALE, less the penalty; a letter of three bytes saves two tokens."""
    if pairs.second[slot] < 0:
        return int(2 * SCALE * pairs.total[slot])
    return int(SCALE * pairs.total[slot] - penalty * pairs.bad[slot])


@njit(cache=True)
def _before(pairs: Pairs, i: int, j: int) -> bool:
    """Order of heap entries: higher score, then the pair of lower symbols."""
    if pairs.heap_score[i] != pairs.heap_score[j]:
        return bool(pairs.heap_score[i] > pairs.heap_score[j])
    a, b = pairs.heap_slot[i], pairs.heap_slot[j]
    if pairs.first[a] != pairs.first[b]:
        return bool(pairs.first[a] < pairs.first[b])
    return bool(pairs.second[a] < pairs.second[b])


@njit(cache=True)
def _swap(pairs: Pairs, i: int, j: int) -> None:
    pairs.heap_score[i], pairs.heap_score[j] = pairs.heap_score[j], pairs.heap_score[i]
    pairs.heap_slot[i], pairs.heap_slot[j] = pairs.heap_slot[j], pairs.heap_slot[i]


@njit(cache=True)
def _push(pairs: Pairs, slot: int, min_count: int, penalty: int) -> None:
    if pairs.total[slot] < min_count:
        return
    i = pairs.size[2]
    pairs.size[2] += 1
    pairs.heap_score[i] = score(pairs, slot, penalty)
    pairs.heap_slot[i] = slot
    while i and _before(pairs, i, (i - 1) // 2):
        _swap(pairs, i, (i - 1) // 2)
        i = (i - 1) // 2


@njit(cache=True)
def _drop_top(pairs: Pairs) -> None:
    pairs.size[2] -= 1
    last = pairs.size[2]
    _swap(pairs, 0, last)
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            return
        if child + 1 < last and _before(pairs, child + 1, child):
            child += 1
        if not _before(pairs, child, i):
            return
        _swap(pairs, i, child)
        i = child


@njit(cache=True)
def take(pairs: Pairs, min_count: int, penalty: int) -> int:
    """The slot of the best pair, taken off the heap; −1 where none occurs min_count times."""
    while pairs.size[2]:
        slot, known = pairs.heap_slot[0], pairs.heap_score[0]
        _drop_top(pairs)
        if pairs.total[slot] < min_count:
            continue
        if score(pairs, slot, penalty) == known:
            return int(slot)
        _push(pairs, slot, min_count, penalty)
    return _NONE


@njit(cache=True)
def count(text: Text, symbols: Symbols, pairs: Pairs, slots: Any, letters: Any, min_count: int, penalty: int) -> None:
    """Count every pair and every letter that is no token yet; `letters` is an empty letter → slot table."""
    for at in range(len(text.symbol)):
        symbol = text.symbol[at]
        pairs.size[3] += text.weight[at] * (1 if symbols.owned[symbol] else 3)
        if symbols.owned[symbol]:
            _add(text, symbols, pairs, slots, at)
            continue
        slot = _find(letters, np.int64(symbol))
        if slot == _NONE:
            slot = _new_slot(pairs, symbol, _NONE)
            letters[np.int64(symbol)] = np.int32(slot)
        _note(text, pairs, slot, at, False)
    for slot in range(pairs.size[0]):
        _push(pairs, slot, min_count, penalty)


@njit(cache=True)
def _places(pairs: Pairs, slot: int) -> Any:
    """Positions on a pair's list, from left to right."""
    node, num = pairs.head[slot], 0
    while node >= 0:
        num += 1
        node = pairs.link[node]
    places = np.empty(num, np.int32)
    node = pairs.head[slot]
    for i in range(num):
        places[i] = pairs.place[node]
        node = pairs.link[node]
    places.sort()
    return places


@njit(cache=True)
def join(
    text: Text, symbols: Symbols, pairs: Pairs, slots: Any, slot: int, new: int, min_count: int, penalty: int
) -> None:
    """Put the symbol `new` in place of a pair wherever it stands, leftmost first, and count what comes and goes."""
    first, second = pairs.first[slot], pairs.second[slot]
    pairs.size[4] += 1
    places = _places(pairs, slot)
    touched = np.empty(2 * len(places), np.int32)
    num_touched = 0
    for at in places:
        follower = text.next[at]
        if text.symbol[at] != first or follower < 0 or text.symbol[follower] != second:
            continue
        left, right = text.previous[at], text.next[follower]
        if left >= 0:
            _subtract(text, pairs, slots, left)
        if right >= 0:
            _subtract(text, pairs, slots, follower)
        if text.inner[follower] or text.edge[follower]:
            text.inner[at] = True
        text.symbol[at] = new
        text.symbol[follower] = _NONE
        text.next[at] = right
        if right >= 0:
            text.previous[right] = at
        pairs.size[3] -= text.weight[at]
        for place in (left, at):
            if place >= 0:
                num_touched = _touch(pairs, _add(text, symbols, pairs, slots, place), touched, num_touched)
    pairs.total[slot] = 0
    pairs.bad[slot] = 0
    pairs.head[slot] = _NONE
    for i in range(num_touched):
        _push(pairs, touched[i], min_count, penalty)


@njit(cache=True)
def _touch(pairs: Pairs, slot: int, touched: Any, num_touched: int) -> int:
    """Put a slot on the list of touched ones, once; returns the list's new length."""
    if slot < 0 or pairs.stamp[slot] == pairs.size[4]:
        return num_touched
    pairs.stamp[slot] = pairs.size[4]
    touched[num_touched] = slot
    return num_touched + 1


@njit(cache=True)
def buy(text: Text, symbols: Symbols, pairs: Pairs, slots: Any, slot: int, min_count: int, penalty: int) -> None:
    """Make a letter a token: from now on it takes part in pairs."""
    letter = pairs.first[slot]
    pairs.size[4] += 1
    symbols.owned[letter] = True
    pairs.size[3] -= 2 * pairs.total[slot]
    places = _places(pairs, slot)
    touched = np.empty(2 * len(places), np.int32)
    num_touched = 0
    for at in places:
        num_touched = _touch(pairs, _add(text, symbols, pairs, slots, at), touched, num_touched)
        left = text.previous[at]
        if left >= 0 and text.symbol[left] != letter:
            num_touched = _touch(pairs, _add(text, symbols, pairs, slots, left), touched, num_touched)
    pairs.total[slot] = 0
    for i in range(num_touched):
        _push(pairs, touched[i], min_count, penalty)
