"""Packed blocks: documents joined end to end, each attending to itself only, mixed by shares, addressed by index.

Shapes: N blocks, T tokens of a block. A block is two rows of memory-mapped files: token ids, and positions that
restart at 0 with every document. Given positions that restart and no attention mask, transformers builds a
block-diagonal causal mask, so a packed document sees what it would see alone. It does so only while there is no
key-value cache either: the Trainer switches config.use_cache off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.corpus.documents import Document
from korean_llm.errors import KoreanLLMError
from korean_llm.measure.bits import start_token

IGNORED = -100
_BATCH_DOCUMENTS = 256


class Blocks(Dataset[dict[str, torch.Tensor]]):
    """Packed blocks on disk. Item i is the same whenever and in whatever order it is read."""

    def __init__(self, folder: Path, start: int = 0, count: int | None = None) -> None:
        """Open blocks start … start + count of a folder written by `build_blocks`."""
        self.ids_NT = np.load(folder / "ids.npy", mmap_mode="r")
        self.positions_NT = np.load(folder / "positions.npy", mmap_mode="r")
        self.start = start
        self.count = len(self.ids_NT) - start if count is None else count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """input_ids, position_ids, labels, each of shape (T,); a document's first token is no target."""
        row = (self.start + index) % len(self.ids_NT)
        ids = torch.from_numpy(self.ids_NT[row].astype(np.int64))
        positions = torch.from_numpy(self.positions_NT[row].astype(np.int64))
        return {"input_ids": ids, "position_ids": positions, "labels": ids.masked_fill(positions == 0, IGNORED)}


def build_blocks(
    documents: list[Document],
    shares: dict[str, float],
    tokenizer: PreTrainedTokenizerBase,
    block_tokens: int,
    num_blocks: int,
    folder: Path,
    seed: int,
) -> dict[str, int]:
    """Fill num_blocks blocks from the documents, mixed by shares, in an order that depends on the seed alone.

    A source with too little text is read again from its start. Returns the tokens taken from each source.
    Raises KoreanLLMError where a source of the mixture has no document.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (num_blocks, block_tokens)
    ids_NT, positions_NT = (_new_memmap(folder / name, shape) for name in ("ids.npy", "positions.npy"))
    ids, positions = ids_NT.reshape(-1), positions_NT.reshape(-1)
    taken = dict.fromkeys(shares, 0)
    at = 0
    with console.working(f"packing {ids.size:,} tokens"):
        for source, tokens in mixed(documents, shares, tokenizer, seed):
            while len(tokens) and at < ids.size:
                room = min(block_tokens - at % block_tokens, ids.size - at)
                part, tokens = tokens[:room], tokens[room:]
                ids[at : at + len(part)] = part
                positions[at : at + len(part)] = np.arange(len(part))
                taken[source] += len(part)
                at += len(part)
            if at >= ids.size:
                break
    ids_NT.flush()
    positions_NT.flush()
    return taken


def _new_memmap(path: Path, shape: tuple[int, int]) -> np.memmap:
    """An array on disk whose room is taken at once: a disk that fills up under a memory map kills the process."""
    array: np.memmap = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint32, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def mixed(
    documents: list[Document], shares: dict[str, float], tokenizer: PreTrainedTokenizerBase, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Endless documents as token arrays; the next one comes from the source that is furthest behind its share."""
    streams = {}
    for source in shares:
        own = [document for document in documents if document.source == source]
        if not own:
            raise KoreanLLMError(
                f"no document of source {source!r} is left to train on; loosen corpus.clean or take it out of sources."
            )
        streams[source] = _endless(own, tokenizer, seed)
    total = sum(shares.values())
    taken = dict.fromkeys(shares, 0)
    while True:
        source = min(shares, key=lambda name: taken[name] / (shares[name] / total))
        tokens = next(streams[source])
        taken[source] += len(tokens)
        yield source, tokens


def _endless(documents: list[Document], tokenizer: PreTrainedTokenizerBase, seed: int) -> Iterator[np.ndarray]:
    """The documents' tokens over and over, in another order each time."""
    epoch = 0
    while True:
        order = sorted(documents, key=lambda document: _rank(document.id, seed, epoch))
        for start in range(0, len(order), _BATCH_DOCUMENTS):
            batch = [document.text for document in order[start : start + _BATCH_DOCUMENTS]]
            for ids in tokenizer(batch, add_special_tokens=False)["input_ids"]:
                yield np.array([start_token(tokenizer), *ids, tokenizer.eos_token_id], dtype=np.uint32)
        epoch += 1


def _rank(name: str, seed: int, epoch: int) -> str:
    return hashlib.sha256(f"{seed}/{epoch}/{name}".encode()).hexdigest()
