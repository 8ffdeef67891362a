"""Train a small Llama for two steps in a process of its own and say how much memory that took at most.

    python -m tests.training_peak LAYERS WIDTH METHOD DEVICE

What learns is arranged as pretraining arranges it (modeling.trainable), the loss is the chunked one, AdamW is fused,
and a step accumulates two passes of packed blocks. DEVICE is whose way of holding a model is followed, still on the
CPU: cpu is float32; cuda is bfloat16 under autocast with activation checkpointing.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from korean_llm.modeling.head import causal_loss
from korean_llm.modeling.memory import GIB, Device, Memory, pretraining_memory
from korean_llm.modeling.shape import Shape
from korean_llm.modeling.trainable import Model, prepare, select, tables
from korean_llm.recipe import LoraSettings, PretrainingSettings
from tests.peak import peak, run_alone, start_peak

VOCABULARY, NEW, BLOCK, PASSES = 32_000, 2_000, 512, 2
BLOCKS: dict[Device, int] = {"cpu": 2, "cuda": 8}  # of a pass: 1,024 tokens on a CPU, 4,096 on a small card
METHODS = {
    "full": ["all", "input_rows", "output_rows"],
    "body": ["all"],
    "lora": ["lora"],
    "rows": ["new_input_rows", "new_output_rows"],
}
LORA = LoraSettings(rank=16)


@dataclass(frozen=True)
class Compared:
    """One size and method: measured and estimated bytes."""

    measured: float
    estimated: Memory

    @property
    def error(self) -> float:
        """(estimated − measured) ÷ measured."""
        return self.estimated_bytes / self.measured - 1

    @property
    def estimated_bytes(self) -> float:
        """Without what CUDA itself takes, which a CPU does not."""
        return (self.estimated.total - self.estimated.framework) * GIB


def shape(layers: int, width: int, vocabulary: int = VOCABULARY) -> Shape:
    """Heads of 64, half as many for keys and values, an untied head."""
    heads = width // 64
    return Shape(width, layers, width * 8 // 3 // 64 * 64, vocabulary, heads, heads // 2, 64, tied=False)


def build(size: Shape, vocabulary: int) -> LlamaForCausalLM:
    """The Llama of a shape, in float32."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.head_dim,
        tie_word_embeddings=size.tied,
    )
    return LlamaForCausalLM(config)


def two_steps(size: Shape, method: str, device: Device, block: int) -> None:
    """Prepare a model and take two optimizer steps on random packed blocks."""
    model = build(size, size.vocabulary + NEW)
    if device == "cuda":
        model = model.to(torch.bfloat16)
        model.gradient_checkpointing_enable()
    found = tables(model)
    prepared: Model = prepare(model, METHODS[method], list(range(size.vocabulary, size.vocabulary + NEW)), LORA)
    select(prepared, list(METHODS[method]), found)
    prepared.train()
    learning = [parameter for parameter in prepared.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, fused=True)
    positions = torch.arange(block).remainder(block // 2).repeat(BLOCKS[device], 1)
    for _ in range(2):
        for _ in range(PASSES):
            ids = torch.randint(0, size.vocabulary + NEW, positions.shape)
            labels = ids.masked_fill(positions == 0, -100)
            inputs = {"input_ids": ids, "position_ids": positions, "labels": labels}
            with torch.autocast("cpu", dtype=torch.bfloat16) if device == "cuda" else nullcontext():
                loss = causal_loss(prepared, inputs, 1_000)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def compare(layers: int, width: int, method: str, device: Device = "cpu") -> Compared:
    """Measure in a process of its own, and estimate from the shape."""
    measured = json.loads(run_alone("tests.training_peak", str(layers), str(width), method, device).splitlines()[-1])
    phase = {"train": METHODS[method], "tokens": 1, "learning_rate": 1e-3}
    settings = PretrainingSettings.model_validate(
        {"phases": [phase], "lora": LORA, "block_tokens": BLOCK, "batch_blocks": BLOCKS[device] * PASSES}
    )
    return Compared(measured, pretraining_memory(shape(layers, width), NEW, settings, 0, device=device))


def main() -> None:
    """Warm up on a tiny model, so that code and buffers of libraries are not counted; then measure."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers, width, method = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    device: Device = "cuda" if sys.argv[4] == "cuda" else "cpu"
    two_steps(shape(1, 128, 500), method, device, 32)
    before = start_peak()
    two_steps(shape(layers, width), method, device, BLOCK)
    print(json.dumps(peak() - before))


if __name__ == "__main__":
    main()
