"""What trains in a model: rows of new tokens, whole tables, LoRA, or everything but the old rows.

New rows are PEFT's trainable tokens: a separate parameter of the new rows only, put over a frozen table in the
forward pass. Old rows get no gradient, no optimizer state and no weight decay, so they stay bit-equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from peft import LoraConfig, PeftConfig, PeftModel, TrainableTokensConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import LoraSettings, TrainableGroup

Model = PreTrainedModel | PeftModel

ROW_GROUPS = frozenset[str]({"new_input_rows", "new_output_rows"})
_LORA_MARK = "lora_"
_ROWS_MARK = "trainable_tokens_delta"


@dataclass(frozen=True)
class Table:
    """The names of the model's embedding and head modules, and whether they are one table."""

    embedding: str
    head: str
    tied: bool


def input_rows(model: PreTrainedModel) -> torch.Tensor:
    """The embedding table (V, D), detached."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def tables(model: PreTrainedModel) -> Table:
    """Find the embedding and head tables of a model."""
    names = {id(module): name for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = embedding.weight is head.weight
    return Table(names[id(embedding)].rsplit(".", 1)[-1], names[id(head)].rsplit(".", 1)[-1], tied)


def prepare(model: PreTrainedModel, groups: Iterable[TrainableGroup], new_ids: list[int], lora: LoraSettings) -> Model:
    """Wrap a model so that every group any phase names can be trained; everything is frozen at first.

    Raises KoreanLLMError where new rows are to be trained and the vocabulary was not extended.
    """
    wanted: set[str] = set(groups)
    if wanted & ROW_GROUPS and not new_ids:
        raise KoreanLLMError(
            "a phase trains new_input_rows or new_output_rows, but the model has no new tokens;"
            " add a vocabulary section, or train other groups."
        )
    table = tables(model)
    config = _peft_config(table, wanted, new_ids, lora)
    wrapped = get_peft_model(model, config) if config else model
    wrapped.requires_grad_(False)
    return wrapped


def _peft_config(table: Table, wanted: set[str], new_ids: list[int], lora: LoraSettings) -> PeftConfig | None:
    modules = [table.embedding] if table.tied else [table.embedding, table.head]
    if "lora" in wanted:
        return LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.target_modules,
            trainable_token_indices=dict.fromkeys(modules, new_ids) if new_ids else None,
            task_type="CAUSAL_LM",
        )
    if new_ids:
        return TrainableTokensConfig(token_indices=new_ids, target_modules=modules, task_type="CAUSAL_LM")
    return None


def group_of(name: str, table: Table) -> str:
    """The group a parameter belongs to, by its name: lora, (new_)input_rows, (new_)output_rows, or body."""
    parts = name.split(".")
    if any(part.startswith(_LORA_MARK) for part in parts):
        return "lora"
    new = "new_" if _ROWS_MARK in parts else ""
    if table.embedding in parts:
        return f"{new}input_rows"
    if table.head in parts:
        return f"{new}output_rows"
    return "body"


def select(model: nn.Module, groups: list[TrainableGroup], table: Table) -> dict[str, int]:
    """Let exactly the named groups train; return group → number of trainable parameters.

    In a tied model input and output rows are one table: naming either trains it. `all` means every weight of the
    body and the new rows; old rows stay frozen unless input_rows or output_rows is named too.
    Raises KoreanLLMError where a named group has no parameter in this model.
    """
    wanted = _expand(groups, table)
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        group = group_of(name, table)
        parameter.requires_grad_(group in wanted)
        if group in wanted:
            counts[group] = counts.get(group, 0) + parameter.numel()
    for name in groups:
        if not _expand([name], table) & counts.keys():
            raise KoreanLLMError(f"the phase trains {name!r}, but this model has no such parameters.")
    return counts


def _expand(groups: Iterable[str], table: Table) -> set[str]:
    wanted = set(groups)
    if "all" in wanted:
        wanted |= {"body", "new_input_rows", "new_output_rows"}
    if table.tied:
        for new in ("new_", ""):
            if f"{new}output_rows" in wanted:
                wanted.add(f"{new}input_rows")
    return wanted


def trainable_names(model: nn.Module, phases: Iterable[list[TrainableGroup]], table: Table) -> set[str]:
    """Names of all parameters that any of the phases trains: what a checkpoint must hold."""
    wanted = set().union(*(_expand(groups, table) for groups in phases))
    return {name for name, _ in model.named_parameters() if group_of(name, table) in wanted}


def save_parameters(model: nn.Module, names: set[str], path: Path) -> None:
    """Write the named parameters as one safetensors file."""
    found = {name: p.detach().contiguous().cpu() for name, p in model.named_parameters() if name in names}
    safetensors.torch.save_file(found, path)


@torch.no_grad()
def load_parameters(model: nn.Module, path: Path) -> None:
    """Put saved parameters back, bit for bit."""
    saved = safetensors.torch.load_file(path)
    parameters = dict(model.named_parameters())
    for name, value in saved.items():
        parameters[name].copy_(value)


def merge(model: Model) -> PreTrainedModel:
    """Fold new rows and LoRA into ordinary weights."""
    if not isinstance(model, PeftModel):
        return model
    merged: PreTrainedModel = model.merge_and_unload()
    return merged
