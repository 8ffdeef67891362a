"""Rows for new tokens: the embedding table and the head grow, old rows stay as they are.

V old vocabulary, N new tokens, D hidden size; shapes stand as suffixes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from korean_llm.errors import KoreanLLMError
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.starts import METHODS, Start, StartContext
from korean_llm.vocabulary.starts.fit import corrections, read


@torch.no_grad()
def extend_rows(
    model: PreTrainedModel,
    merges: Sequence[Merge],
    num_rows: int,
    inputs: Start,
    outputs: Start,
    context: StartContext,
) -> None:
    """Grow the model's tables in place to num_rows and fill the rows of the new tokens.

    New ids follow each other from merges[0].id. Padding rows behind the last new token, where the base has none, get
    the mean of all old rows. A tied model has one table, which stays tied; an untied head gets rows of its own.

    Args:
        model: the base model, or one that was extended so before: its new rows are then filled again.
        merges: the new tokens.
        num_rows: rows of the grown tables, at least as many as they have now.
        inputs, outputs: how the rows of the embedding and of the head start; the same for a tied model.
        context: what the ways to start know of the corpus; `fitted` needs its windows.

    Raises KoreanLLMError where a tied model is to start its one table in two ways, and where `fitted` cannot work.
    """
    grow(model, merges, num_rows)
    if tied(model):
        if inputs != outputs:
            raise KoreanLLMError(
                f"vocabulary.initialise names {inputs!r} for input and {outputs!r} for output rows, but this model's"
                " embedding and head are one table; name one way."
            )
        fill(input_table(model), merges, inputs, context)
    else:
        fill(input_table(model), merges, inputs, context)
        fill(output_table(model), merges, outputs, context)
    if outputs == "fitted":
        fit_head(model, merges, context)


@torch.no_grad()
def grow(model: PreTrainedModel, merges: Sequence[Merge], num_rows: int) -> None:
    """Give both tables num_rows rows; rows that are added hold the mean of the old ones."""
    num_old, rows_before = merges[0].id, len(input_table(model))
    if num_rows <= rows_before:
        return
    model.resize_token_embeddings(num_rows, mean_resizing=False)
    for table_VD in distinct_tables(model):
        table_VD[rows_before:] = table_VD[:num_old].float().mean(0).to(table_VD.dtype)


@torch.no_grad()
def fill(table_VD: torch.Tensor, merges: Sequence[Merge], start: Start, context: StartContext) -> None:
    """Write the new tokens' rows into a grown table, made of its own old rows."""
    first_id = merges[0].id
    rows_ND = METHODS[start](table_VD[:first_id].float(), merges, context)
    table_VD[first_id : first_id + len(merges)] = rows_ND.to(table_VD.dtype)


@torch.no_grad()
def fit_head(model: PreTrainedModel, merges: Sequence[Merge], context: StartContext) -> None:
    """Correct the new tokens' head rows by what the model's head sees on the context's windows.

    Where the head is the embedding too, its rows move with it: corrections are about a hundredth of a row's length,
    along the few directions in which hidden states are long, and change what is read by next to nothing.
    Raises KoreanLLMError where the context has no text.
    """
    if not context.windows:
        raise KoreanLLMError(
            "vocabulary.initialise: fitted needs Korean training text to fit rows to; choose mean, or add text."
        )
    first_id, table_VD = merges[0].id, output_table(model)
    rows_ND = table_VD[first_id : first_id + len(merges)].float()
    rows_ND += corrections(read(model, context.windows, first_id), rows_ND)
    table_VD[first_id : first_id + len(merges)] = rows_ND.to(table_VD.dtype)


def tied(model: PreTrainedModel) -> bool:
    """Whether embedding and head are one table."""
    return input_table(model) is output_table(model)


def distinct_tables(model: PreTrainedModel) -> list[torch.Tensor]:
    """The embedding table, and the head where it is another one."""
    return [input_table(model)] if tied(model) else [input_table(model), output_table(model)]


def input_table(model: PreTrainedModel) -> torch.Tensor:
    """The embedding table (V, D)."""
    return _weight(model.get_input_embeddings())


def output_table(model: PreTrainedModel) -> torch.Tensor:
    """The head's table (V, D)."""
    return _weight(model.get_output_embeddings())


def _weight(module: nn.Module | None) -> torch.Tensor:
    weight = None if module is None else module.weight
    assert isinstance(weight, torch.Tensor)
    return weight
