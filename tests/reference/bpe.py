"""Slow, obvious byte-level BPE to compare the fast ones with: an encoder, and a learner that recounts everything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer

from korean_llm.hangul import holds_hangul


def encode(text: str, state: dict[str, Any]) -> list[int]:
    """Ids of a text that holds no special token, under the tokenizer.json `state`."""
    model = state["model"]
    ranks = {(first, second): rank for rank, (first, second) in enumerate(model["merges"])}
    empty = {**state, "added_tokens": [], "model": {**model, "vocab": {}, "merges": []}}
    cutter = Tokenizer.from_str(json.dumps(empty))
    if cutter.normalizer is not None:
        text = cutter.normalizer.normalize_str(text)
    ids: list[int] = []
    for word, _ in cutter.pre_tokenizer.pre_tokenize_str(text):
        if model["ignore_merges"] and word in model["vocab"]:
            ids.append(model["vocab"][word])
        else:
            ids.extend(model["vocab"][piece] for piece in cut(word, ranks))
    return ids


def cut(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Pieces of a word: join the neighbours of lowest rank, leftmost first, until none can be joined."""
    pieces = list(word)
    while True:
        fitting = [(ranks[pair], i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not fitting:
            return pieces
        _, i = min(fitting)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


def learn(
    words: Iterable[tuple[list[bytes], int]], old: list[bytes], num_merges: int, min_count: int
) -> list[tuple[bytes, bytes, int]]:
    """(left, right, count) of each merge over Hangul, all pairs counted anew before each.

    `old` are the base's tokens in the order of their ids; ties go to the pair of older tokens.
    """
    words = [(list(pieces), count) for pieces, count in words]
    age = {piece: i for i, piece in enumerate(old)}
    merges: list[tuple[bytes, bytes, int]] = []
    while len(merges) < num_merges:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for pieces, count in words:
            for pair in pairwise(pieces):
                pairs[pair] += count
        allowed = [
            (-count, age[first], age[second], first, second)
            for (first, second), count in pairs.items()
            if count >= min_count and first + second not in age and surely_hangul(first + second)
        ]
        if not allowed:
            break
        negative, _, _, first, second = min(allowed)
        merges.append((first, second, -negative))
        age[first + second] = len(age)
        for pieces, _ in words:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == (first, second):
                    pieces[i : i + 2] = [first + second]
                i += 1
    return merges


@cache
def surely_hangul(piece: bytes) -> bool:
    """Whether some character that begins in these bytes is Hangul, however the bytes may go on."""
    leads = [i for i, byte in enumerate(piece) if byte >= 0xC2]
    return any(all(map(holds_hangul, completions(piece[i : i + 4]))) for i in leads)


@cache
def completions(start: bytes) -> list[str]:
    """All characters whose UTF-8 begins like `start`, which begins with a lead byte and may be too long."""
    length = 2 if start[0] < 0xE0 else 3 if start[0] < 0xF0 else 4
    if len(start) >= length:
        return [start[:length].decode()]
    # The second byte may not make an overlong form, a surrogate, or a character above U+10FFFF.
    limits = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
    first, last = limits.get(start[0], (0x80, 0xBF)) if len(start) == 1 else (0x80, 0xBF)
    return [character for byte in range(first, last + 1) for character in completions(start + bytes([byte]))]
