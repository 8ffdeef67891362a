"""Bits per byte: the one measure of language modelling that can be compared across tokenizers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Bits:
    """Negative log-likelihood of a text in bits, and the text's size.

    Attributes:
        bits: sum over all tokens of −log2 p(token | tokens before it in its window).
        bytes: UTF-8 bytes of the text.
        tokens: tokens of the text.
    """

    bits: float
    bytes: int
    tokens: int

    @property
    def per_byte(self) -> float:
        """Bits per UTF-8 byte of text; lower is better."""
        return self.bits / max(self.bytes, 1)


def windows(texts: Iterable[str], window_chars: int) -> list[str]:
    """Cut texts into windows of at most window_chars characters, at a space where there is one.

    Windows are measured in characters and not in tokens, so that every tokenizer sees the same context.
    """
    found = []
    for text in texts:
        start = 0
        while start < len(text):
            end = min(start + window_chars, len(text))
            if end < len(text):
                space = text.rfind(" ", start + 1, end)
                end = space if space > start else end
            found.append(text[start:end])
            start = end
    return found


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token a window begins with, so that its first token is predicted too: BOS, else EOS."""
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise ValueError("the tokenizer has neither a BOS nor an EOS token")
    return int(token)


@torch.inference_mode()
def bits_per_byte(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], window_chars: int = 600
) -> Bits:
    """Score texts window by window; every token of every window counts once.

    Bits per byte = Σ −log2 p(token) / UTF-8 bytes (Gao et al. 2020, arXiv 2101.00027, §3.1).
    """
    device, first = next(model.parameters()).device, start_token(tokenizer)
    training = model.training
    model.eval()
    bits, num_bytes, num_tokens = 0.0, 0, 0
    for window in windows(texts, window_chars):
        ids = tokenizer(window, add_special_tokens=False)["input_ids"]
        ids_1T = torch.tensor([[first, *ids]], device=device)
        logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0, :-1].float()
        nats = torch.nn.functional.cross_entropy(logits_TV, ids_1T[0, 1:], reduction="sum")
        bits += nats.item() / math.log(2)
        num_bytes += len(window.encode())
        num_tokens += len(ids)
    model.train(training)
    return Bits(bits, num_bytes, num_tokens)
