"""The memory estimate against what torch allocates: parameters, gradients, optimizer states, byte for byte."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from korean_llm.modeling.memory import (
    GIB,
    Memory,
    instruction_memory,
    micro_tokens,
    pretraining_memory,
)
from korean_llm.modeling.shape import KNOWN, Shape, from_config, shape_of
from korean_llm.modeling.trainable import prepare, select, tables
from korean_llm.recipe import InstructionSettings, LoraSettings, Origins, Phase, PretrainingSettings, TrainableGroup
from tests.conftest import make_model

VOCABULARY, NEW = 300, 24
LORA = LoraSettings(rank=4, alpha=8)
GROUPS: list[list[TrainableGroup]] = [
    ["new_input_rows"],
    ["new_input_rows", "new_output_rows"],
    ["lora"],
    ["lora", "new_input_rows", "new_output_rows"],
    ["input_rows"],
    ["input_rows", "output_rows"],
    ["lora", "new_output_rows", "output_rows"],
    ["all"],
    ["all", "input_rows", "output_rows"],
]


def shape_of_model(vocabulary: int, tied: bool, folder: Path) -> Shape:
    make_model(vocabulary, tied=tied).config.save_pretrained(folder)
    return from_config(folder / "config.json")


def settings(groups: list[TrainableGroup], **more: object) -> PretrainingSettings:
    phase = Phase(train=groups, tokens=1_000, learning_rate=1e-3)
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
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    return optimizer


def norms(model: nn.Module, trained: bool) -> int:
    """Parameters of norms, which the estimate leaves out."""
    found = [p for name, p in model.named_parameters() if "norm" in name and (p.requires_grad or not trained)]
    return sum(parameter.numel() for parameter in found)


@pytest.mark.parametrize(("tied", "groups"), list(itertools.product([True, False], GROUPS)))
def test_parameters_gradients_and_states_byte_for_byte(
    tmp_path: Path, tied: bool, groups: list[TrainableGroup]
) -> None:
    base = make_model(VOCABULARY + NEW, tied=tied).to(torch.bfloat16)
    own = num_bytes(base.parameters()) - 2 * norms(base, trained=False)
    table = tables(base)
    model = prepare(base, groups, list(range(VOCABULARY, VOCABULARY + NEW)), LORA)
    select(model, groups, table)
    estimate = pretraining_memory(shape_of_model(VOCABULARY, tied, tmp_path), NEW, settings(groups), 80)
    assert estimate.weights * GIB == own

    named = dict(model.named_parameters())
    rows = [p for name, p in named.items() if "trainable_tokens_delta" in name]
    originals = [buffer for name, buffer in model.named_buffers() if "trainable_tokens_original" in name]
    assert len(rows) == len(originals) == (1 if tied else 2)
    assert estimate.rows * GIB == num_bytes(rows) + num_bytes(originals)

    states = train_once(model).state
    trained = [p for p in named.values() if p.requires_grad]
    assert len(states) == len(trained) > 0
    moments = [state[name] for state in states.values() for name in ("exp_avg", "exp_avg_sq")]
    adapters = [p for name, p in named.items() if "lora_" in name]
    gradients = [p.grad for p in trained]
    assert None not in gradients
    counted = num_bytes(gradients) + num_bytes(moments) + num_bytes(adapters) - 6 * norms(model, trained=True)
    assert estimate.gradients_and_optimizer * GIB == counted


@pytest.mark.parametrize("tied", [True, False])
def test_instruction_tuning_byte_for_byte(tmp_path: Path, tied: bool) -> None:
    base = make_model(VOCABULARY + NEW, tied=tied).to(torch.bfloat16)
    own, table = num_bytes(base.parameters()) - 2 * norms(base, trained=False), tables(base)
    model = prepare(base, ["lora"], [], LORA)
    select(model, ["lora"], table)
    shape = shape_of_model(VOCABULARY, tied, tmp_path)
    estimate = instruction_memory(shape, NEW, InstructionSettings(data=["x"], lora=LORA), 80)
    states = train_once(model).state
    adapters = [p for p in model.parameters() if p.requires_grad]
    moments = [state[name] for state in states.values() for name in ("exp_avg", "exp_avg_sq")]
    assert estimate.weights * GIB == own
    assert estimate.rows == 0
    counted = num_bytes(adapters) + num_bytes(p.grad for p in adapters) + num_bytes(moments)
    assert estimate.gradients_and_optimizer * GIB == counted


@pytest.mark.parametrize("tied", [True, False])
def test_shapes_count_the_parameters_of_a_real_model(tmp_path: Path, tied: bool) -> None:
    model = make_model(VOCABULARY, tied=tied)
    shape = shape_of_model(VOCABULARY, tied, tmp_path)
    assert shape.parameters == sum(p.numel() for p in model.parameters()) - norms(model, trained=False)
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


def test_logits_as_torch_holds_them() -> None:
    """The head's output in bfloat16, its copy in float32, and the copy's gradient."""
    shape = Shape(32, 2, 64, VOCABULARY, 4, 2, 8, tied=True)
    tokens = 50
    logits_TV = torch.zeros(tokens, VOCABULARY, dtype=torch.bfloat16)
    copy_TV = logits_TV.float().requires_grad_()
    nn.functional.cross_entropy(copy_TV, torch.zeros(tokens, dtype=torch.long)).backward()
    assert copy_TV.grad is not None
    plan = settings(["lora"], block_tokens=tokens, batch_blocks=1)
    assert pretraining_memory(shape, 0, plan, 80).logits * GIB == num_bytes([logits_TV, copy_TV, copy_TV.grad])


def test_tokens_of_a_pass_follow_the_card_the_block_and_the_step() -> None:
    shape = KNOWN["allenai/OLMo-2-1124-7B"]

    def tokens(gpu: float, block: int, batch: int) -> float:
        plan = settings(["lora"], block_tokens=block, batch_blocks=batch)
        return pretraining_memory(shape, 0, plan, gpu).logits * GIB / (10 * shape.vocabulary)

    assert (micro_tokens(80), micro_tokens(70), micro_tokens(69.9), micro_tokens(24)) == (16_384, 16_384, 4_096, 4_096)
    assert tokens(80, 4_096, 64) == 16_384
    assert tokens(24, 2_048, 64) == 4_096
    assert tokens(80, 256, 4) == 1_024, "a step may be smaller than what the card could take"
    assert tokens(24, 8_192, 1) == 8_192, "a block is never cut"


def test_activations_grow_with_tokens_layers_and_width() -> None:
    plan = settings(["lora"], block_tokens=1_000, batch_blocks=1)
    shape = Shape(64, 4, 128, VOCABULARY, 4, 2, 16, tied=True)

    def activations(**changes: int) -> float:
        return pretraining_memory(Shape(**{**vars(shape), **changes}), 0, plan, 80).activations * GIB

    hidden_states = 1_000 * 64 * 2  # one layer's input, bfloat16
    assert activations(layers=5) - activations() == pytest.approx(hidden_states)
    double = settings(["lora"], block_tokens=2_000, batch_blocks=1)
    assert pretraining_memory(shape, 0, double, 80).activations * GIB == pytest.approx(2 * activations())
    assert activations() > 4 * hidden_states


def test_four_bits_hold_the_linear_layers_only() -> None:
    """NF4: 4 bits a weight, and 8 / 64 + 32 / (64 · 256) bits of doubly quantized constants."""
    shape = KNOWN["allenai/OLMo-2-1124-7B"]
    full = pretraining_memory(shape, 8_000, settings(["lora"]), 80)
    small = pretraining_memory(shape, 8_000, settings(["lora"], quantized_base=True), 80)
    bits = 4 + 8 / 64 + 32 / (64 * 256)
    tables_bytes = 2 * 2 * (shape.vocabulary + 8_000) * shape.hidden
    assert small.weights * GIB - tables_bytes == pytest.approx(shape.linear * bits / 8, rel=1e-3)
    assert full.weights * GIB - tables_bytes == 2 * shape.linear
    qlora = instruction_memory(shape, 8_000, InstructionSettings(method="qlora", data=["x"]), 80)
    assert qlora.weights == small.weights


def test_the_total_is_the_sum_and_the_table_is_rounded() -> None:
    memory = Memory(weights=1.006, rows=0.5, gradients_and_optimizer=2.0, activations=3.25, logits=0.125)
    assert memory.total == pytest.approx(1.006 + 0.5 + 2.0 + 3.25 + 0.125 + 1.0)
    found = memory.as_dict()
    assert list(found) == ["weights", "rows", "gradients_and_optimizer", "activations", "logits", "framework", "total"]
    assert (found["weights"], found["total"]) == (1.01, 7.88)


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
