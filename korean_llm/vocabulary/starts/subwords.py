"""Subword vectors of old and new tokens, learned from the run's corpus alone.

As in fastText (Bojanowski et al. 2017, arXiv 1607.04606) a token's vector is made of its own and of those of its
n-grams, so that rare tokens and tokens of one stem lie together; n-grams are taken over bytes, as tokens are bytes.
Instead of training, contexts are summed up by random indexing (Kanerva, Kristoferson and Holst 2000): every token has a
fixed random vector, and a token's context vector is the sum of its neighbours', the frequent ones counting less.

S tokens of both vocabularies, G n-grams, R dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch

R = 256
_REACH = 3
_NGRAMS = range(3, 8)


def subword_vectors(pieces: Sequence[bytes], documents: Sequence[Sequence[int]], seed: int) -> torch.Tensor:
    """Unit vectors (S, R) of tokens 0 … S − 1, given their bytes and documents of their ids; zero for unknown ones."""
    contexts_SR = _contexts(len(pieces), documents, seed)
    tokens, grams, num_grams = _ngrams(pieces)
    grams_GR = torch.zeros(num_grams, R).index_add_(0, grams, contexts_SR[tokens])
    grams_GR = torch.nn.functional.normalize(grams_GR, dim=1)
    sums_SR = torch.zeros(len(pieces), R).index_add_(0, tokens, grams_GR[grams])
    own_SR = torch.nn.functional.normalize(contexts_SR, dim=1)
    return torch.nn.functional.normalize(own_SR + torch.nn.functional.normalize(sums_SR, dim=1), dim=1)


def _contexts(num: int, documents: Sequence[Sequence[int]], seed: int) -> torch.Tensor:
    """Sum of the index vectors of each token's neighbours, weighted by the square root of their rarity, (S, R)."""
    index_SR = torch.randn(num, R, generator=torch.Generator().manual_seed(seed)) / R**0.5
    contexts_SR = torch.zeros(num, R)
    counts_S = torch.bincount(torch.tensor(list(chain.from_iterable(documents)), dtype=torch.long), minlength=num)
    index_SR /= (1 + counts_S[:, None]) ** 0.5
    for document in documents:
        ids = torch.tensor(document, dtype=torch.long)
        for offset in range(1, _REACH + 1):
            left, right = ids[:-offset], ids[offset:]
            contexts_SR.index_add_(0, left, index_SR[right])
            contexts_SR.index_add_(0, right, index_SR[left].roll(1, dims=1))  # before and after are different sides
    return contexts_SR


def _ngrams(pieces: Sequence[bytes]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(token, n-gram) of every n-gram of every token with its borders marked, as two index tensors; and G."""
    known: dict[bytes, int] = {}
    tokens, grams = [], []
    for token, piece in enumerate(pieces):
        marked = b"<" + piece + b">"
        for length in _NGRAMS:
            for start in range(len(marked) - length + 1):
                tokens.append(token)
                grams.append(known.setdefault(marked[start : start + length], len(known)))
    return torch.tensor(tokens, dtype=torch.long), torch.tensor(grams, dtype=torch.long), len(known)
