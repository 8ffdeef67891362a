"""Slow, obvious SentencePiece BPE with byte fallback to compare the fast one with."""

from __future__ import annotations

from itertools import pairwise
from typing import Any


def encode(text: str, state: dict[str, Any]) -> list[int]:
    """Ids of a text that holds no special token, under a tokenizer.json `state` that prepends ▁.

    Characters are joined pair by pair: the pair whose merge comes first in the file, the leftmost of these. What is
    no piece in the end is written as its UTF-8 bytes.
    """
    if not text:
        return []
    vocab = state["model"]["vocab"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(state["model"]["merges"])}
    pieces = list("▁" + text.replace(" ", "▁"))
    while True:
        fitting = [(ranks[pair], i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not fitting:
            break
        _, i = min(fitting)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    ids: list[int] = []
    for piece in pieces:
        ids += [vocab[piece]] if piece in vocab else [vocab[f"<0x{byte:02X}>"] for byte in piece.encode()]
    return ids
