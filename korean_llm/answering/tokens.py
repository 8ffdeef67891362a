"""How a tokenizer cuts any text, token by token, with nothing that a reader could not read."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from korean_llm.answering.writing.stream import TokenBytes
from korean_llm.evaluation.boundaries import pieces

MAX_CHARS = 2_000


@dataclass(frozen=True)
class Chip:
    """A stretch of text; parts: the bytes of each of its tokens, where no one token is the stretch."""

    text: str
    parts: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Cut:
    """A text as a tokenizer cuts it. The chips' texts, joined, are the text."""

    chips: tuple[Chip, ...]
    num_tokens: int
    num_eojeols: int
    num_bytes: int

    @property
    def fertility(self) -> float:
        """Tokens per eojeol."""
        return self.num_tokens / max(1, self.num_eojeols)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 that a token stands for."""
        return self.num_bytes / max(1, self.num_tokens)


def cut(tokenizer: PreTrainedTokenizerBase, text: str) -> Cut:
    """Cut a text of up to MAX_CHARS characters; what is longer is left off."""
    text = text[:MAX_CHARS]
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    raw = TokenBytes(tokenizer)
    chips, at = [], 0
    for piece in pieces(tokenizer, text):
        parts = tuple(raw[token] for token in ids[at : at + piece.tokens])
        chips.append(Chip(piece.text, parts if piece.tokens > 1 else ()))
        at += piece.tokens
    return Cut(tuple(chips), len(ids), len(text.split()), len(text.encode()))
