"""What trains in a model: rows of new tokens, whole tables, LoRA, chosen layers, or everything but the old rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.error import NoMatchingPeftModuleError
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.rows import ROWS, fold, separate
from korean_llm.recipe import LoraSettings, layer_numbers

Model = PreTrainedModel | PeftModel

ROW_GROUPS = frozenset[str]({"new_input_rows", "new_output_rows"})
_LORA_MARK = "lora_"
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


@dataclass(frozen=True)
class Table:
    """The names of the model's embedding and head modules, whether they are one table, and the number of layers."""

    embedding: str
    head: str
    tied: bool
    num_layers: int


def input_rows(model: PreTrainedModel) -> torch.Tensor:
    """The embedding table (V, D), detached."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def tables(model: PreTrainedModel) -> Table:
    """Find the embedding and head tables of a model."""
    names = {id(module): name for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    first, last = (names[id(module)].rsplit(".", 1)[-1] for module in (embedding, head))
    return Table(first, last, embedding.weight is head.weight, model.config.num_hidden_layers)


def prepare(model: PreTrainedModel, groups: Iterable[str], new_ids: list[int], lora: LoraSettings) -> Model:
    """Make a model so that every group any phase names can be trained; everything is frozen at first.

    Rows of new tokens become parameters of their own (modeling.rows), LoRA is PEFT's.
    Raises KoreanLLMError where new rows are to be trained and the vocabulary was not extended.
    """
    wanted = set(groups)
    if wanted & ROW_GROUPS and not new_ids:
        raise KoreanLLMError(
            "a phase trains new_input_rows or new_output_rows, but the model has no new tokens;"
            " add a vocabulary section, or train other groups."
        )
    if new_ids:
        separate(model, new_ids)
    prepared: Model = _adapted(model, lora) if "lora" in wanted else model
    prepared.requires_grad_(False)
    return prepared


def _adapted(model: PreTrainedModel, lora: LoraSettings) -> PeftModel:
    try:
        return get_peft_model(model, _lora_config(lora))
    except NoMatchingPeftModuleError:
        linear = sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, nn.Linear)})
        raise KoreanLLMError(
            f"lora.target_modules: {lora.target_modules!r} names no module of this model; expected all-linear, or a"
            f" regular expression over whole names; its linear layers end in {', '.join(linear)}."
        ) from None


def _lora_config(lora: LoraSettings) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )


def group_of(name: str, table: Table) -> str:
    """What a parameter is, by its name: lora, (new_ or old_) input_rows or output_rows, or body."""
    parts = name.split(".")
    if any(part.startswith(_LORA_MARK) for part in parts):
        return "lora"
    age = "new" if ROWS in parts else "old"
    if table.embedding in parts:
        return f"{age}_input_rows"
    if table.head in parts:
        return f"{age}_output_rows"
    return "body"


def trains(name: str, groups: Iterable[str], table: Table) -> bool:
    """Whether a parameter is in one of the groups of a recipe.

    In a tied model input and output rows are one table: naming either trains it. `all` is every weight but LoRA's and
    the old rows; they stay frozen unless input_rows or output_rows is named too.
    """
    kind, layer = group_of(name, table), _LAYER.search(name)
    for group in groups:
        numbers = layer_numbers(group)
        if numbers is not None:
            if kind == "body" and layer and (not numbers or int(layer[1]) in numbers):
                return True
        elif kind in _kinds(group, table.tied):
            return True
    return False


def _kinds(group: str, tied: bool) -> set[str]:
    """The kinds of parameters of a group that is not `layers`."""
    if group == "lora":
        return {"lora"}
    if group == "all":
        return {"body", "new_input_rows", "new_output_rows"}
    sides = ("input", "output") if tied else ("input" if "input" in group else "output",)
    ages = ("new",) if group in ROW_GROUPS else ("new", "old")
    return {f"{age}_{side}_rows" for age in ages for side in sides}


def select(model: nn.Module, groups: list[str], table: Table) -> dict[str, int]:
    """Let exactly the named groups train; return kind → number of trainable parameters.

    What trains is held in float32: in bfloat16, steps smaller than 1/256 of a weight would be lost.
    Raises KoreanLLMError where a named group has no parameter in this model.
    """
    counts: dict[str, int] = {}
    for group in groups:
        for number in layer_numbers(group) or ():
            if number >= table.num_layers:
                raise KoreanLLMError(
                    f"the phase trains layer {number}, but this model's layers are 0 to {table.num_layers - 1}."
                )
        if not any(trains(name, [group], table) for name, _ in model.named_parameters()):
            raise KoreanLLMError(f"the phase trains {group!r}, but this model has no such parameters.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(name, groups, table))
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            kind = group_of(name, table)
            counts[kind] = counts.get(kind, 0) + parameter.numel()
    return counts


def trainable_names(model: nn.Module, phases: Iterable[list[str]], table: Table) -> set[str]:
    """Names of all parameters that any of the phases trains: what a checkpoint must hold."""
    wanted = {group for groups in phases for group in groups}
    return {name for name, _ in model.named_parameters() if trains(name, wanted, table)}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU; one that is sharded over processes is gathered, which every process has to ask for."""
    gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered.detach().cpu().contiguous()


@torch.no_grad()
def put(parameter: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into a parameter, sharded or not, bit for bit."""
    if isinstance(parameter, DTensor):
        value = value.to(parameter.device)
        parameter.copy_(distribute_tensor(value, parameter.device_mesh, parameter.placements))
    else:
        parameter.copy_(value)


def parameters_of(model: nn.Module, names: set[str]) -> dict[str, torch.Tensor]:
    """The named parameters, whole, on the CPU."""
    return {name: whole(p) for name, p in model.named_parameters() if name in names}


def save_parameters(model: nn.Module, names: set[str], path: Path, *, write: bool = True) -> None:
    """Write the named parameters as one safetensors file, aside first.

    Where a model is sharded every process has to call it, and all but one with write=False.
    """
    found = parameters_of(model, names)
    if write:
        aside = path.with_suffix(".new")
        safetensors.torch.save_file(found, aside)
        aside.replace(path)


def load_parameters(model: nn.Module, path: Path) -> None:
    """Put saved parameters back, bit for bit."""
    saved = safetensors.torch.load_file(path)
    parameters = dict(model.named_parameters())
    for name, value in saved.items():
        put(parameters[name], value)


def merge(model: Model) -> PreTrainedModel:
    """Fold new rows and LoRA into ordinary weights and modules."""
    merged: PreTrainedModel = model.merge_and_unload() if isinstance(model, PeftModel) else model
    fold(merged)
    return merged
