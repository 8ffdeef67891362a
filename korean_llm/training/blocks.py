"""Packed blocks: documents joined end to end, each attending to itself only, mixed by shares, addressed by index.

Shapes: N blocks, T tokens of a block, E entries of the order. What is on disk is the documents' tokens, once, and the
order in which they are read, over and over where a source is smaller than its share: block i is tokens i·T … (i+1)·T
of that endless text, found by bisection, so the last block costs what the first one costs.

Positions of a block restart at 0 with every document. Given positions that restart and no attention mask, transformers
builds a block-diagonal causal mask, so a packed document sees what it would see alone. It does so only while there is
no key-value cache either: the Trainer switches config.use_cache off.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from korean_llm.errors import KoreanLLMError
from korean_llm.training.tokens import Tokens

IGNORED = -100
_DOCUMENTS, _STARTS = "order.npy", "order-starts.npy"


class Blocks(Dataset[dict[str, torch.Tensor]]):
    """Packed blocks over tokens and an order on disk. Item i is the same whenever and in whatever order it is read."""

    def __init__(self, tokens: Tokens, folder: Path, block_tokens: int, start: int = 0, count: int = 1) -> None:
        """Open blocks start … start + count of an order written by `write_order`."""
        self.tokens, self.block_tokens, self.start, self.count = tokens, block_tokens, start, count
        self.documents_E = np.load(folder / _DOCUMENTS, mmap_mode="r")
        self.starts_E = np.load(folder / _STARTS, mmap_mode="r")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """input_ids, position_ids, labels, each of shape (T,); a document's first token is no target."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        ids_T = np.empty(self.block_tokens, dtype=np.int64)
        positions_T = np.empty(self.block_tokens, dtype=np.int64)
        at = 0
        for _, first, count in self.parts(index):
            ids_T[at : at + count] = self.tokens.ids[first : first + count]
            positions_T[at : at + count] = np.arange(count)
            at += count
        ids, positions = torch.from_numpy(ids_T), torch.from_numpy(positions_T)
        return {"input_ids": ids, "position_ids": positions, "labels": ids.masked_fill(positions == 0, IGNORED)}

    def parts(self, index: int) -> list[tuple[int, int, int]]:
        """What a block is made of: number of the document, place of its first token here, number of its tokens."""
        at = (self.start + index) * self.block_tokens
        end = at + self.block_tokens
        entry = int(np.searchsorted(self.starts_E, at, side="right")) - 1
        found = []
        while at < end:
            document, start = int(self.documents_E[entry]), int(self.starts_E[entry])
            first, stop = int(self.tokens.starts[document]), int(self.tokens.starts[document + 1])
            count = min(stop - first - (at - start), end - at)
            found.append((document, first + at - start, count))
            at += count
            entry += 1
        return found

    def document_names(self, indexes: range) -> list[str]:
        """Ids of the documents of some blocks, in the order in which they are read."""
        numbers = [part[0] for index in indexes for part in self.parts(index)]
        names = self.tokens.document_names(set(numbers))
        return [names[number] for number in dict.fromkeys(numbers)]


def write_order(tokens: Tokens, shares: dict[str, float], num_tokens: int, folder: Path, seed: int) -> None:
    """Write the order in which num_tokens tokens are read; it depends on the seed and the documents alone.

    Always next comes a document of the source that is furthest behind its share: the tokens of its sources read so
    far, divided by their shares, are the hands of a clock, and documents come in the order of the time they start.
    A source with too little text is read again from its start, in another order.
    Raises KoreanLLMError where a source of the mixture has no document.
    """
    total = sum(shares.values())
    documents, lengths, times = [], [], []
    for name in shares:
        own = _endless(tokens, name, shares[name] / total * num_tokens, seed)
        own_lengths = _lengths(tokens, own)
        documents.append(own)
        lengths.append(own_lengths)
        times.append((np.cumsum(own_lengths) - own_lengths) / (shares[name] / total))
    order = np.argsort(np.concatenate(times), kind="stable")
    all_documents, all_lengths = np.concatenate(documents)[order], np.concatenate(lengths)[order]
    ends = np.cumsum(all_lengths)
    count = int(np.searchsorted(ends, num_tokens)) + 1
    np.save(folder / _DOCUMENTS, all_documents[:count])
    np.save(folder / _STARTS, (ends - all_lengths)[:count])


def tokens_by_source(tokens: Tokens, folder: Path, num_tokens: int) -> dict[str, int]:
    """Of the first num_tokens tokens of an order, how many come from each source."""
    documents_E, starts_E = np.load(folder / _DOCUMENTS), np.load(folder / _STARTS)
    read_E = np.clip(num_tokens - starts_E, 0, _lengths(tokens, documents_E))
    read = np.bincount(tokens.sources[documents_E], weights=read_E, minlength=len(tokens.names))
    return {name: int(count) for name, count in zip(tokens.names, read, strict=True) if count}


def _lengths(tokens: Tokens, documents: np.ndarray) -> np.ndarray:
    return tokens.starts[documents + 1] - tokens.starts[documents]


def _endless(tokens: Tokens, source: str, num_tokens: float, seed: int) -> np.ndarray:
    """The source's documents, shuffled anew for each time round, until they hold num_tokens tokens."""
    number = tokens.names.index(source) if source in tokens.names else -1
    own = np.flatnonzero(tokens.sources == number)
    if not len(own):
        raise KoreanLLMError(
            f"no document of source {source!r} is left to train on; loosen corpus.clean or take it out of sources."
        )
    rounds = int(num_tokens // _lengths(tokens, own).sum()) + 1
    return np.concatenate([own[_shuffled(len(own), f"{seed}/{source}/{number}")] for number in range(rounds)])


def _shuffled(count: int, name: str) -> np.ndarray:
    """A permutation of count places that depends on the name alone, and on no library's generator.

    Places are sorted by SplitMix64 (Steele, Lea and Flood 2014) of their number, from a start drawn from the name.
    """
    start = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        keys = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")
