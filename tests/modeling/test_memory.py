"""The memory estimate against what torch allocates: tensors byte for byte, and a whole process's peak."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from korean_llm.modeling.memory import (
    GIB,
    Memory,
    batch_at_once,
    instruction_memory,
    micro_tokens,
    pretraining_memory,
)
from korean_llm.modeling.shape import KNOWN, Shape, from_config, shape_of
from korean_llm.modeling.trainable import prepare, select, tables
from korean_llm.recipe import InstructionSettings, LoraSettings, Origins, PretrainingSettings
from tests.conftest import make_model
from tests.training_peak import compare

VOCABULARY, NEW = 300, 24
LORA = LoraSettings(rank=4, alpha=8)
GROUPS: list[list[str]] = [
    ["new_input_rows"],
    ["new_input_rows", "new_output_rows"],
    ["lora"],
    ["lora", "new_input_rows", "new_output_rows"],
    ["input_rows"],
    ["input_rows", "output_rows"],
    ["lora", "new_output_rows", "output_rows"],
    ["all"],
    ["all", "input_rows", "output_rows"],
    ["layers:1", "new_output_rows"],
    ["layers:all"],
]
OLMO = KNOWN["allenai/OLMo-2-1124-7B"]


def shape_of_model(vocabulary: int, tied: bool, folder: Path) -> Shape:
    make_model(vocabulary, tied=tied).config.save_pretrained(folder)
    return from_config(folder / "config.json")


def settings(groups: list[str], **more: object) -> PretrainingSettings:
    phase = {"train": groups, "tokens": 1_000, "learning_rate": 1e-3}
    return PretrainingSettings.model_validate({"phases": [phase], "lora": LORA, **more})


def num_bytes(tensors: object) -> int:
    """Bytes of tensors; those that share their memory count once."""
    found = {tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}  # type: ignore[attr-defined]
    return sum(found.values())


def train_once(model: nn.Module) -> torch.optim.Optimizer:
    """One step of AdamW on what is trainable, so that gradients and states exist."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable)
    ids = torch.arange(VOCABULARY, VOCABULARY + NEW)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    return optimizer


def norms(model: nn.Module) -> int:
    """Parameters of norms, which the estimate leaves out."""
    return sum(parameter.numel() for name, parameter in model.named_parameters() if "norm" in name)


@pytest.mark.parametrize(("tied", "groups"), list(itertools.product([True, False], GROUPS)))
def test_parameters_gradients_and_states_byte_for_byte(tmp_path: Path, tied: bool, groups: list[str]) -> None:
    base = make_model(VOCABULARY + NEW, tied=tied).to(torch.bfloat16)
    table = tables(base)
    model = prepare(base, groups, list(range(VOCABULARY, VOCABULARY + NEW)), LORA)
    select(model, groups, table)
    estimate = pretraining_memory(shape_of_model(VOCABULARY, tied, tmp_path), NEW, settings(groups), 80)

    named = {name: p for name, p in model.named_parameters() if "norm" not in name}
    rows = {name: p for name, p in named.items() if "new_rows" in name}
    assert len(rows) == (1 if tied else 2)
    assert estimate.weights * GIB == num_bytes(p for name, p in named.items() if name not in rows)
    assert estimate.rows * GIB == num_bytes(rows.values())

    state = train_once(model).state
    trained = [p for p in named.values() if p.requires_grad]
    gradients = [p.grad for p in trained]
    assert trained and None not in gradients
    assert estimate.optimizer * GIB == num_bytes(state[p][name] for p in trained for name in ("exp_avg", "exp_avg_sq"))
    assert estimate.gradients * GIB == num_bytes(gradients)


@pytest.mark.parametrize("tied", [True, False])
def test_instruction_tuning_byte_for_byte(tmp_path: Path, tied: bool) -> None:
    base = make_model(VOCABULARY + NEW, tied=tied).to(torch.bfloat16)
    own, table = num_bytes(base.parameters()) - 2 * norms(base), tables(base)
    model = prepare(base, ["lora"], [], LORA)
    select(model, ["lora"], table)
    shape = shape_of_model(VOCABULARY, tied, tmp_path)
    estimate = instruction_memory(shape, NEW, InstructionSettings(data=["x"], lora=LORA), 80)
    states = train_once(model).state
    adapters = [p for p in model.parameters() if p.requires_grad]
    moments = [state[name] for state in states.values() for name in ("exp_avg", "exp_avg_sq")]
    assert estimate.weights * GIB == own + num_bytes(adapters)
    assert estimate.rows == 0
    assert estimate.gradients * GIB == num_bytes(p.grad for p in adapters)
    assert estimate.optimizer * GIB == num_bytes(moments)


@pytest.mark.parametrize(("layers", "width", "method"), [(2, 256, "full"), (2, 256, "rows")])
def test_peak_of_a_process_within_a_tenth(layers: int, width: int, method: str) -> None:
    """Two cells of tests/benchmarks/memory.py."""
    cell = compare(layers, width, method)
    assert abs(cell.error) <= 0.10, f"measured {cell.measured / 1e6:.0f} MB, estimated {cell.estimated.as_dict()}"


@pytest.mark.parametrize("tied", [True, False])
def test_shapes_count_the_parameters_of_a_real_model(tmp_path: Path, tied: bool) -> None:
    model = make_model(VOCABULARY, tied=tied)
    shape = shape_of_model(VOCABULARY, tied, tmp_path)
    assert shape.parameters == sum(p.numel() for p in model.parameters()) - norms(model)
    body = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "lm_head"]
    assert shape.linear == sum(module.weight.numel() for module in body)
    assert shape.table == model.get_input_embeddings().weight.numel()
    for rank in (1, 4, 7):
        lora = prepare(make_model(VOCABULARY, tied=tied), ["lora"], [], LoraSettings(rank=rank))
        assert shape.lora(rank) == sum(p.numel() for name, p in lora.named_parameters() if "lora_" in name)


def test_sizes_of_the_known_bases() -> None:
    """Against the parameter counts their makers state, norms apart."""
    stated = {
        "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
        "mistralai/Mistral-7B-v0.1": 7_241_732_096,
        "meta-llama/Llama-2-7b-hf": 6_738_415_616,
        "allenai/OLMo-2-1124-7B": 7_298_617_344,
    }
    assert KNOWN.keys() == stated.keys()
    for name, shape in KNOWN.items():
        norm_parameters = stated[name] - shape.parameters
        per_layer = 4 if "OLMo" in name else 2  # OLMo-2 also normalises queries and keys
        assert norm_parameters == shape.hidden * (per_layer * shape.layers + 1), name


def test_the_phase_that_needs_most_counts() -> None:
    rows, everything = settings(["new_input_rows"]), settings(["all"])
    both = rows.model_copy(update={"phases": rows.phases + everything.phases})
    assert pretraining_memory(OLMO, 8_000, both, 80) == pretraining_memory(OLMO, 8_000, everything, 80)


def test_what_a_phase_has_trained_stays_in_float32() -> None:
    layers, rows = settings(["layers:0,1"]), settings(["new_output_rows", "new_input_rows"])
    after = rows.model_copy(update={"phases": [*layers.phases, *rows.phases]})
    first = rows.model_copy(update={"phases": [*rows.phases, *layers.phases]})
    grown = pretraining_memory(OLMO, 0, after, 80).weights - pretraining_memory(OLMO, 0, rows, 80).weights
    assert grown * GIB == pytest.approx(2 * 2 * OLMO.linear / OLMO.layers)
    assert pretraining_memory(OLMO, 0, first, 80) == pretraining_memory(OLMO, 0, after, 80)


def test_eight_bits_for_moments_but_not_of_an_embedding() -> None:
    def moments(groups: list[str]) -> float:
        small = settings(groups, optimizer="adamw_8bit")
        return (
            pretraining_memory(OLMO, 0, small, 80).optimizer
            / pretraining_memory(OLMO, 0, settings(groups), 80).optimizer
        )

    assert moments(["all"]) == pytest.approx((2 + 8 / 256) / 8)
    assert moments(["output_rows"]) == pytest.approx((2 + 8 / 256) / 8)
    assert moments(["input_rows"]) == 1, "bitsandbytes keeps an embedding's in float32"


def test_a_single_pass_a_step_trades_activations_for_gradients() -> None:
    """The first gradients appear as activations go; where passes are accumulated both are there."""
    one = pretraining_memory(OLMO, 0, settings(["all"], batch_blocks=4), 80)
    many = pretraining_memory(OLMO, 0, settings(["all"], batch_blocks=8), 80)
    assert many.gradients - one.gradients == pytest.approx(one.activations + one.logits)
    assert (one.activations, one.logits, one.optimizer) == (many.activations, many.logits, many.optimizer)


def test_rows_of_the_head_alone_keep_no_activations() -> None:
    head = pretraining_memory(OLMO, 8_000, settings(["new_output_rows"]), 80)
    both = pretraining_memory(OLMO, 8_000, settings(["new_input_rows", "new_output_rows"]), 80)
    upper = pretraining_memory(OLMO, 8_000, settings(["layers:24,31"]), 80)
    assert head.activations < upper.activations < both.activations


def test_tokens_of_a_pass_follow_the_card_the_block_and_the_step() -> None:
    def activations(gpu: float, block: int, batch: int) -> float:
        return pretraining_memory(OLMO, 0, settings(["lora"], block_tokens=block, batch_blocks=batch), gpu).activations

    assert (micro_tokens(80), micro_tokens(70), micro_tokens(69.9), micro_tokens(24)) == (16_384, 16_384, 4_096, 4_096)
    assert activations(80, 4_096, 64) == activations(80, 4_096, 4)
    ratio = activations(80, 4_096, 64) / activations(24, 4_096, 64)
    assert 4 <= ratio < 5, "what a layer's backward pass takes beyond the loss grows faster than the tokens"
    assert activations(80, 256, 4) < activations(80, 256, 64), "a step may be smaller than what the card could take"
    assert activations(24, 8_192, 2) == activations(24, 8_192, 1), "a block is never cut"
    assert [batch_at_once(6, 1_000, limit) for limit in (500, 1_000, 2_999, 3_000, 5_999, 6_000)] == [1, 1, 2, 3, 3, 6]


def test_four_bits_hold_the_linear_layers_only() -> None:
    """NF4: 4 bits a weight, and 8 / 64 + 32 / (64 · 256) bits of doubly quantized constants."""
    full = pretraining_memory(OLMO, 8_000, settings(["lora"]), 80)
    small = pretraining_memory(OLMO, 8_000, settings(["lora"], quantized_base=True), 80)
    bits = 4 + 8 / 64 + 32 / (64 * 256)
    beside = 2 * 2 * (OLMO.vocabulary + 8_000) * OLMO.hidden + 4 * OLMO.lora(4)
    assert small.weights * GIB - beside == pytest.approx(OLMO.linear * bits / 8, rel=1e-3)
    assert full.weights * GIB - beside == 2 * OLMO.linear
    qlora = instruction_memory(OLMO, 8_000, InstructionSettings(method="qlora", data=["x"], lora=LORA), 80)
    tables_in_float32 = 2 * 2 * (OLMO.vocabulary + 8_000) * OLMO.hidden / GIB
    assert qlora.weights == pytest.approx(small.weights + tables_in_float32)


def test_several_gpus_share_all_but_activations() -> None:
    plan = settings(["all", "input_rows", "output_rows"])
    one, four = (pretraining_memory(OLMO, 8_000, plan, 80, gpus) for gpus in (1, 4))
    for part in ("weights", "rows", "gradients", "optimizer"):
        assert getattr(four, part) == pytest.approx(getattr(one, part) / 4), part
    assert (four.activations, four.logits) == (one.activations, one.logits)
    layer, tables_bytes = 4 * OLMO.linear / OLMO.layers, 2 * 4 * (OLMO.vocabulary + 8_000) * OLMO.hidden
    rows_bytes = 2 * 4 * 8_000 * OLMO.hidden
    assert one.gathered == 0
    assert four.gathered * GIB == pytest.approx(3 * layer + 2 * tables_bytes + 2 * rows_bytes)
    assert four.total < one.total / 2


def test_the_total_is_the_sum_and_the_table_is_rounded() -> None:
    memory = Memory(weights=1.006, rows=0.5, gradients=2.0, optimizer=4.0, activations=3.25, logits=0.125)
    assert memory.total == pytest.approx(1.006 + 0.5 + 2.0 + 4.0 + 3.25 + 0.125 + 1.0)
    found = memory.as_dict()
    parts = ["weights", "rows", "gradients", "optimizer", "activations", "logits", "gathered", "framework", "total"]
    assert list(found) == parts
    assert (found["weights"], found["total"]) == (1.01, 11.88)


def test_where_a_shape_is_read_from(tmp_path: Path) -> None:
    run, local = tmp_path / "run", tmp_path / "local"
    (run / "base" / "model").mkdir(parents=True)
    hub = Origins(hub="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert shape_of(hub, run) == KNOWN["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert shape_of(Origins(hub="org/no-such-model"), run) is None
    assert shape_of(Origins(folder=str(local)), run) is None
    shape_of_model(77, True, local)
    assert shape_of(Origins(folder=str(local)), run) == Shape(32, 2, 64, 77, 4, 2, 8, tied=True)
    shape_of_model(88, False, run / "base" / "model")
    for source in (hub, Origins(folder=str(local))):
        assert shape_of(source, run) == Shape(32, 2, 64, 88, 4, 2, 8, tied=False), "the run's own base comes first"
