"""Bits of a text, token by token, each from a forward pass of its own: slow and obvious."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def bits(model: nn.Module, first: int, ids: list[int]) -> float:
    """Σ −log2 p(token | first and the tokens before it), in double precision."""
    total = 0.0
    for position, token in enumerate(ids):
        before = torch.tensor([[first, *ids[:position]]])
        logits_V = model(input_ids=before, use_cache=False).logits[0, -1].double()
        total -= torch.log_softmax(logits_V, dim=-1)[token].item() / math.log(2)
    return total
