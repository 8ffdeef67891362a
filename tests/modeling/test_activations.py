"""Bytes that a pass holds, by formula, against the tensors that autograd saves."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.autograd.graph import saved_tensors_hooks
from transformers import LlamaForCausalLM

from korean_llm.modeling.activations import Body, Pass, kept_bytes, layer_bytes, loss_bytes, working_bytes
from korean_llm.modeling.chunks import chunk_size
from korean_llm.modeling.head import causal_model
from korean_llm.modeling.shape import Shape
from tests.training_peak import build

TOKENS, BLOCK, VOCABULARY, RANK = 96, 48, 500, 8
SHAPE = Shape(64, 2, 160, VOCABULARY, 4, 2, 16, tied=False)
BODIES: list[Body] = ["frozen", "lora", "full"]


def shape(layers: int) -> Shape:
    return Shape(**{**vars(SHAPE), "layers": layers})


def done(body: Body = "full", width: int = 4, *, layers: int = 2, checkpointed: bool = False) -> Pass:
    return Pass(TOKENS, BLOCK, body, layers, RANK, width, width, checkpointed)


def model(body: Body, width: int, layers: int) -> Any:
    made: LlamaForCausalLM = build(shape(layers), VOCABULARY)
    made = made.to(torch.bfloat16 if width == 2 else torch.float32).train()
    made.requires_grad_(False)
    if body == "full":
        for name, parameter in made.named_parameters():
            if "layers" in name:  # what learns is in float32
                parameter.requires_grad_(True).data = parameter.data.float()
        return made
    if body == "lora":
        return get_peft_model(made, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    made.model.embed_tokens.requires_grad_(True)
    return made


def saved(body: Body, width: int, layers: int) -> int:
    """Bytes that autograd keeps after the decoder's forward pass on packed blocks, weights left out."""
    whole = model(body, width, layers)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*whole.parameters(), *whole.buffers())}
    found: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    positions = torch.arange(BLOCK).remainder(BLOCK // 2).repeat(TOKENS // BLOCK, 1)
    ids = torch.randint(0, VOCABULARY, positions.shape)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16) if width == 2 else nullcontext()
    with saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        causal_model(whole).get_decoder()(input_ids=ids, position_ids=positions, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize(("body", "width"), list(itertools.product(BODIES, [4, 2])))
def test_a_layer_byte_for_byte(body: Body, width: int) -> None:
    """Twice: what two layers save beyond one, and three beyond two."""
    one, two, three = (saved(body, width, layers) for layers in (1, 2, 3))
    assert two - one == three - two == layer_bytes(SHAPE, done(body, width))


def test_kept_and_working_bytes() -> None:
    plain, checkpointed = done(), done(checkpointed=True)
    beside = kept_bytes(shape(2), plain) - 2 * layer_bytes(SHAPE, plain)
    inputs = TOKENS * SHAPE.hidden * 4
    assert kept_bytes(SHAPE, checkpointed) == 2 * inputs + beside
    assert working_bytes(SHAPE, checkpointed) == working_bytes(SHAPE, plain) + layer_bytes(SHAPE, plain)
    nothing = done(layers=0)
    assert (kept_bytes(SHAPE, nothing), working_bytes(SHAPE, nothing)) == (beside, 0)


def test_the_loss_holds_a_chunk_not_all_logits() -> None:
    vocabulary, tokens = 150_000, 16_384
    big = Shape(**{**vars(SHAPE), "vocabulary": vocabulary})
    passed = Pass(tokens, 4_096, "frozen", 2, RANK, 2, 2, True)
    hidden = 2 * tokens * SHAPE.hidden * 2
    chunk = chunk_size(tokens, vocabulary) * vocabulary * (2 + 4)
    assert loss_bytes(big, passed, 0, table_learns=False) == chunk + hidden
    assert loss_bytes(big, passed, 100, table_learns=False) == chunk + hidden + 100 * SHAPE.hidden * (4 + 2)
    assert loss_bytes(big, passed, 0, table_learns=True) == chunk + hidden + big.table * 4
    assert chunk < 0.05 * tokens * vocabulary * 12, "whole logits, their softmax and its gradient"
