"""Rows for new tokens: the embedding table and the head grow, old rows stay as they are.

V old vocabulary, N new tokens, D hidden size; shapes stand as suffixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

Start = Literal["mean", "global_mean"]


def starting_rows(
    table_VD: torch.Tensor, base_ids: Sequence[Sequence[int]], num_old: int, initialise: Start
) -> torch.Tensor:
    """Rows that new tokens start with, (N, D), in the table's number format; means are taken in float32.

    "mean": the mean of the rows of the base's tokens for the same bytes. "global_mean": the mean of all rows in use
    (Hewitt 2021). Both lie in the convex hull of the old rows, which matters more than which point it is
    (arXiv 2407.05841).

    Args:
        table_VD: the old table.
        base_ids: for every new token, the base's ids for its bytes.
        num_old: number of ids in use before; rows behind are the table's padding.
        initialise: which mean.
    """
    if initialise == "global_mean":
        mean_D = table_VD[:num_old].float().mean(0)
        return mean_D.to(table_VD.dtype).expand(len(base_ids), -1)
    means = [table_VD[list(ids)].float().mean(0) for ids in base_ids]
    return torch.stack(means).to(table_VD.dtype)


@torch.no_grad()
def extend_rows(
    model: PreTrainedModel, base_ids: Sequence[Sequence[int]], num_old: int, initialise: Start = "mean"
) -> None:
    """Grow the model's tables in place to hold ids 0 … num_old + N − 1 and fill the rows of the new ones.

    A table that has padding rows behind the base's ids is grown only as far as they do not suffice.
    A tied model has one table, which stays tied; an untied head gets its rows from its own old rows.
    """
    num_all = num_old + len(base_ids)
    embedding, head = _table(model.get_input_embeddings()), _table(model.get_output_embeddings())
    tied = embedding is head
    inputs_ND = starting_rows(embedding, base_ids, num_old, initialise)
    outputs_ND = None if tied else starting_rows(head, base_ids, num_old, initialise)
    model.resize_token_embeddings(max(num_all, embedding.shape[0]), mean_resizing=False)
    _table(model.get_input_embeddings())[num_old:num_all] = inputs_ND
    if outputs_ND is not None:
        _table(model.get_output_embeddings())[num_old:num_all] = outputs_ND


def _table(module: nn.Module) -> torch.Tensor:
    """The weight of an embedding or of a head, (V, D)."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight
