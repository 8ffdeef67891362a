"""A Trainer whose loss never holds the logits of all tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Trainer

from korean_llm.modeling.head import causal_loss


class ChunkedLoss(Trainer):
    """Trainer that takes a causal model's loss in chunks of tokens. To be named before another one in a class's bases.

    TRL's own chunked loss leaves out PEFT models, and its usual one measures accuracy on whole logits.
    """

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The model's own loss; no outputs beside it."""
        loss = causal_loss(model, inputs, num_items_in_batch)
        if num_items_in_batch is not None:  # of all processes, over which gradients are averaged
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss
