"""Fertility: how many tokens a tokenizer needs for a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from transformers import PreTrainedTokenizerBase

from korean_llm.hangul import eojeols

_BATCH_TEXTS = 64


@dataclass(frozen=True)
class Fertility:
    """Size of some texts in tokens, eojeols (space-separated words) and UTF-8 bytes. Sizes add up with `+`."""

    tokens: int = 0
    eojeols: int = 0
    bytes: int = 0

    def __add__(self, other: Fertility) -> Fertility:
        return Fertility(self.tokens + other.tokens, self.eojeols + other.eojeols, self.bytes + other.bytes)

    @property
    def tokens_per_eojeol(self) -> float:
        """All tokens over all space-separated words; lower is better. 0 for no text."""
        return self.tokens / self.eojeols if self.eojeols else 0.0

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes over tokens; higher is better. 0 for no text."""
        return self.bytes / self.tokens if self.tokens else 0.0


def fertility(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Fertility:
    """Measure texts under a tokenizer, special tokens not counted."""
    total, rest = Fertility(), iter(texts)
    while batch := list(islice(rest, _BATCH_TEXTS)):
        ids = tokenizer(batch, add_special_tokens=False)["input_ids"]
        total += Fertility(
            tokens=sum(map(len, ids)),
            eojeols=sum(len(eojeols(text)) for text in batch),
            bytes=sum(len(text.encode()) for text in batch),
        )
    return total
