"""A short training of new rows alone, to see which start learns best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.measure.bits import start_token, windows
from korean_llm.modeling.trainable import merge, prepare, select, tables
from korean_llm.recipe import LoraSettings, TrainableGroup

STEPS = 16
STEP_TOKENS = 512
TRIAL_TOKENS = STEPS * STEP_TOKENS
"""Tokens that the short training reads."""
_LEARNING_RATE = 1e-3
_WINDOW_CHARS = 600
_GROUPS: list[TrainableGroup] = ["new_input_rows", "new_output_rows"]


def train_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    new_ids: list[int],
    texts: Sequence[str],
    seed: int,
) -> None:
    """Train the rows of new_ids in place on the first TRIAL_TOKENS tokens of texts; everything else is frozen.

    AdamW without weight decay, learning rate 1e-3, falling linearly to 0. Texts without end are read once and again.
    """
    torch.manual_seed(seed)
    table = tables(model)
    wrapped = prepare(model, _GROUPS, new_ids, LoraSettings())
    select(wrapped, _GROUPS, table)
    rows = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(rows, lr=_LEARNING_RATE, weight_decay=0.0)
    batches = _batches(tokenizer, texts)
    wrapped.train()
    for step in console.progress(range(STEPS), "training new rows"):
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / STEPS)
        batch = next(batches)
        num_tokens = sum(len(ids) - 1 for ids in batch)
        for ids in batch:
            ids_1T = torch.tensor([ids], device=rows[0].device)
            logits_TV = wrapped(input_ids=ids_1T, use_cache=False).logits[0, :-1].float()
            nats = torch.nn.functional.cross_entropy(logits_TV, ids_1T[0, 1:], reduction="sum")
            (nats / num_tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    wrapped.eval()
    merge(wrapped)
    model.requires_grad_(True)


def _batches(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[list[list[int]]]:
    """Endless lists of windows that hold about STEP_TOKENS tokens together."""
    batch: list[list[int]] = []
    size = 0
    while True:
        for window in windows(texts, _WINDOW_CHARS):
            ids = tokenizer(window, add_special_tokens=False)["input_ids"]
            batch.append([start_token(tokenizer), *ids])
            size += len(ids)
            if size >= STEP_TOKENS:
                yield batch
                batch, size = [], 0
