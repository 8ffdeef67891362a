"""What trains and what stays bit-equal, weight decay included, in tied and untied models."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedModel

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.trainable import (
    Model,
    Table,
    group_of,
    input_rows,
    load_parameters,
    merge,
    prepare,
    save_parameters,
    select,
    tables,
    trainable_names,
)
from korean_llm.recipe import LoraSettings
from tests.conftest import make_model

OLD, NEW = 90, 10
NEW_IDS = list(range(OLD, OLD + NEW))
LORA = LoraSettings(rank=4, alpha=8)
EVERYTHING: list[str] = ["lora", "new_input_rows", "new_output_rows"]


def prepared(tied: bool, groups: list[str], new_ids: list[int] = NEW_IDS) -> tuple[Model, Table]:
    base = make_model(OLD + NEW, tied=tied)
    table = tables(base)
    return prepare(base, groups, new_ids, LORA), table


def train(model: Model, steps: int = 4, seed: int = 0) -> None:
    """AdamW with strong weight decay on random ids, old and new."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.5)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        ids = torch.randint(0, OLD + NEW, (2, 24), generator=generator)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def moved(before: PreTrainedModel, after: PreTrainedModel) -> set[str]:
    """Which parts of a model differ by at least one bit: rows by kind, linear layers, norms."""
    found = set()
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    assert old.keys() == new.keys(), "an ordinary model again"
    for name, was in old.items():
        now = new[name]
        if "embed_tokens" in name or "lm_head" in name:
            side = "input" if "embed" in name else "output"
            parts = {f"old {side}": slice(0, OLD), f"new {side}": slice(OLD, None)}
            found |= {part for part, rows in parts.items() if not torch.equal(was[rows], now[rows])}
        elif not torch.equal(was, now):
            found.add("norms" if "norm" in name else "linear")
    return found


# Groups → what changes in an untied model; in a tied one, output rows are the input rows.
CHANGES: list[tuple[list[str], set[str]]] = [
    (["new_input_rows"], {"new input"}),
    (["new_output_rows"], {"new output"}),
    (["new_input_rows", "new_output_rows"], {"new input", "new output"}),
    (["lora"], {"linear"}),
    (EVERYTHING, {"linear", "new input", "new output"}),
    (["input_rows"], {"old input", "new input"}),
    (["output_rows"], {"old output", "new output"}),
    (["new_input_rows", "output_rows"], {"new input", "old output", "new output"}),
    (["layers:1"], {"linear", "norms"}),
    (["layers:all", "new_input_rows"], {"linear", "norms", "new input"}),
    (["all"], {"linear", "norms", "new input", "new output"}),
    (["all", "output_rows"], {"linear", "norms", "new input", "new output", "old output"}),
]


@pytest.mark.parametrize(("tied", "case"), list(itertools.product([True, False], CHANGES)))
def test_exactly_the_named_groups_change(tied: bool, case: tuple[list[str], set[str]]) -> None:
    groups, expected = case
    model, table = prepared(tied, groups)
    counts = select(model, groups, table)
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    train(model)
    merged = merge(model.eval())
    assert type(merged) is LlamaForCausalLM
    if tied:
        expected = {part.replace("output", "input") for part in expected}
        assert merged.lm_head.weight is merged.get_input_embeddings().weight
    assert moved(make_model(OLD + NEW, tied=tied), merged) == expected


@pytest.mark.parametrize("tied", [True, False])
def test_phases_one_after_the_other(tied: bool) -> None:
    """Selecting again frees what the new phase names and freezes what it does not."""
    model, table = prepared(tied, EVERYTHING)
    named = dict(model.named_parameters())
    select(model, ["lora"], table)
    train(model)
    between = {name: p.detach().clone() for name, p in named.items()}
    select(model, ["new_input_rows", "new_output_rows"], table)
    train(model)
    changed = {group_of(name, table) for name, p in named.items() if not torch.equal(p, between[name])}
    assert changed == ({"new_input_rows"} if tied else {"new_input_rows", "new_output_rows"})


@pytest.mark.parametrize("tied", [True, False])
def test_counts_of_trainable_parameters(tied: bool) -> None:
    model, table = prepared(tied, EVERYTHING)
    rows = NEW * 32
    lora = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    expected = {"lora": lora, "new_input_rows": rows} | ({} if tied else {"new_output_rows": rows})
    assert select(model, EVERYTHING, table) == expected
    assert select(model, ["new_input_rows"], table) == {"new_input_rows": rows}
    assert select(model, ["new_output_rows"], table) == {"new_input_rows" if tied else "new_output_rows": rows}
    whole = {"old_input_rows": (OLD + NEW) * 32, "new_input_rows": rows}
    assert select(model, ["input_rows"], table) == whole


@pytest.mark.parametrize("tied", [True, False])
def test_preparing_changes_no_output_and_trains_nothing(tied: bool) -> None:
    base = make_model(OLD + NEW, tied=tied).eval()
    ids = torch.arange(OLD + NEW)[None]
    with torch.inference_mode():
        before = base(input_ids=ids).logits
        model, _ = prepared(tied, EVERYTHING)
        logits = model.eval()(input_ids=ids).logits
        assert torch.allclose(logits, before, rtol=0, atol=1e-6)  # the head is three products instead of one
        assert torch.equal(model.get_input_embeddings()(ids), base.get_input_embeddings()(ids))
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
def test_merged_computes_what_adapted_computed(tied: bool) -> None:
    model, table = prepared(tied, EVERYTHING)
    select(model, EVERYTHING, table)
    train(model, steps=6)
    ids = torch.arange(OLD + NEW)[None]
    with torch.inference_mode():
        adapted = model.eval()(input_ids=ids).logits
        merged = merge(model)(input_ids=ids).logits
        untrained = make_model(OLD + NEW, tied=tied).eval()(input_ids=ids).logits
    assert torch.allclose(adapted, merged, atol=1e-5)
    assert not torch.allclose(untrained, merged, atol=1e-2)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_without_new_tokens_trains_lora_alone(tied: bool) -> None:
    model, table = prepared(tied, ["lora"], [])
    assert set(select(model, ["lora"], table)) == {"lora"}
    model, table = prepared(tied, ["all", "input_rows"], [])
    assert not isinstance(model, PeftModel)
    assert set(select(model, ["all", "input_rows"], table)) == {"body", "old_input_rows"}
    assert merge(model) is model


@pytest.mark.parametrize("group", ["new_input_rows", "new_output_rows"])
def test_new_rows_of_a_model_without_new_tokens_are_refused(group: str) -> None:
    with pytest.raises(KoreanLLMError, match="the model has no new tokens; add a vocabulary section"):
        prepared(False, [group], [])


def test_a_group_that_was_not_prepared_is_refused() -> None:
    model, table = prepared(True, ["new_input_rows"])
    with pytest.raises(KoreanLLMError, match="the phase trains 'lora', but this model has no such parameters"):
        select(model, ["new_input_rows", "lora"], table)


def test_a_layer_that_is_not_there_is_refused() -> None:
    model, table = prepared(True, ["layers:7"])
    with pytest.raises(KoreanLLMError, match="trains layer 7, but this model's layers are 0 to 1"):
        select(model, ["layers:7"], table)


def test_lora_reaches_every_linear_layer_but_the_head() -> None:
    model, _ = prepared(False, ["lora"], [])
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if ".lora_" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("tied", [True, False])
def test_tables_and_input_rows(tied: bool) -> None:
    model = make_model(OLD, tied=tied)
    assert tables(model) == Table("embed_tokens", "lm_head", tied, 2)
    rows_VD = input_rows(model)
    assert rows_VD.shape == (OLD, 32) and not rows_VD.requires_grad
    assert rows_VD.data_ptr() == model.get_input_embeddings().weight.data_ptr()


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("model.embed_tokens.weight", "old_input_rows"),
        ("lm_head.weight", "old_output_rows"),
        ("model.layers.0.self_attn.q_proj.weight", "body"),
        ("model.norm.weight", "body"),
        ("base_model.model.model.embed_tokens.new_rows", "new_input_rows"),
        ("base_model.model.lm_head.new_rows", "new_output_rows"),
        ("base_model.model.model.layers.1.mlp.up_proj.lora_A.default.weight", "lora"),
        ("base_model.model.model.layers.1.mlp.up_proj.base_layer.weight", "body"),
        ("base_model.model.model.embed_tokens.weight", "old_input_rows"),
    ],
)
def test_groups_by_name(name: str, group: str) -> None:
    assert group_of(name, Table("embed_tokens", "lm_head", False, 2)) == group


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_come_back_bit_for_bit(tied: bool, tmp_path: Path) -> None:
    """What any phase trains is saved, in every phase; nothing else is."""
    phases: list[list[str]] = [["new_output_rows"], ["lora"]]
    model, table = prepared(tied, ["lora", "new_output_rows"])
    names = trainable_names(model, phases, table)
    trainable: set[str] = set()
    for phase in phases:
        select(model, phase, table)
        trainable |= {name for name, p in model.named_parameters() if p.requires_grad}
        train(model)
    assert names == trainable
    save_parameters(model, names, tmp_path / "p.safetensors")
    other, _ = prepared(tied, ["lora", "new_output_rows"])
    before = {name: p.detach().clone() for name, p in other.named_parameters()}
    load_parameters(other, tmp_path / "p.safetensors")
    trained = dict(model.named_parameters())
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter, trained[name]), name
        assert torch.equal(parameter, before[name]) == (name not in names), name
