"""How much memory training takes, by part, before anything is loaded.

Bytes per parameter on a GPU: frozen weights 2 in bfloat16, or 0.516 in NF4 with double quantization (Dettmers et al.
2023: 4 bits and 0.127 bits of constants). What learns (weights, new rows, adapters) is held in float32 with a float32
gradient and both moments of AdamW: 4 + 4 + 8; 8-bit AdamW takes 2 and constants for the moments (Dettmers et al. 2022),
but 8 for an embedding. In a forward pass autocast keeps a bfloat16 copy of what learns. On a CPU all is float32. Tables
keep the idle rows that new rows stand in for. The chunked loss needs no whole logits. Activations:
korean_llm.modeling.activations. On several GPUs (FSDP2) weights, gradients and moments are shared out, and gathered a
layer at a time; tables, rows and last norm are gathered throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from korean_llm.modeling.activations import Pass, kept_bytes, loss_bytes, working_bytes
from korean_llm.modeling.shape import Shape
from korean_llm.recipe import InstructionSettings, PretrainingSettings, layer_numbers

GIB = 1024**3
_BF16, _FLOAT32, _NF4 = 2, 4, 0.516
_MOMENTS_8BIT = 2 * (1 + 4 / 256)
_FRAMEWORK_GIB = 1.0  # CUDA context and allocator slack
_CPU_TOKENS = 1_024

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True)
class Memory:
    """Estimated memory of one process in GiB, by part, at the peak of one stage.

    Attributes:
        weights: the model and its adapters; rows: new rows in float32.
        gradients: where every step is a single pass, only what they need beyond the activations they replace.
        activations: what is kept for the backward pass, and the larger of two: autocast's copies while the loss is
            computed, or what the backward pass takes beyond the loss, which is over by then.
        logits: a chunk of logits and the gradients that the loss computes.
        gathered: weights of other processes at hand.
    """

    weights: float
    rows: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    gathered: float = 0.0
    framework: float = _FRAMEWORK_GIB

    @property
    def total(self) -> float:
        """Sum of the parts, GiB."""
        return sum(vars(self).values())

    def as_dict(self) -> dict[str, float]:
        """Parts and total, rounded to a hundredth of a GiB."""
        return {name: round(value, 2) for name, value in {**vars(self), "total": self.total}.items()}


def micro_tokens(gpu_gib: float) -> int:
    """Tokens of one forward pass that a card of this size is given: 16,384 from 70 GiB on, else 4,096."""
    return 16_384 if gpu_gib >= 70 else 4_096


def batch_at_once(batch: int, tokens: int, limit: int) -> int:
    """Rows of a forward pass: the largest divisor of the batch whose rows of so many tokens fit the limit, else 1."""
    return max(size for size in range(1, batch + 1) if batch % size == 0 and (size * tokens <= limit or size == 1))


def pretraining_memory(
    shape: Shape,
    new_tokens: int,
    settings: PretrainingSettings,
    gpu_gib: float,
    gpus: int = 1,
    device: Device = "cuda",
) -> Memory:
    """The need of the phase that needs most, of one process of `gpus`."""
    extended = _extended(shape, new_tokens)
    learned, found = set[str](), list[Memory]()
    for phase in settings.phases:
        learned |= set(phase.train)  # stays in float32 in later phases
        learning = _learning(extended, new_tokens, set(phase.train), settings.lora.rank)
        before = _learning(extended, new_tokens, learned, settings.lora.rank)
        found.append(_phase(extended, new_tokens, settings, learning, before, gpu_gib, gpus, device))
    return max(found, key=lambda memory: memory.total)


def instruction_memory(shape: Shape, new_tokens: int, settings: InstructionSettings, gpu_gib: float) -> Memory:
    """Peak of LoRA or QLoRA instruction tuning on one GPU where every example has the full length."""
    extended = _extended(shape, new_tokens)
    quantized, adapter = settings.method == "qlora", shape.lora(settings.lora.rank)
    rows = batch_at_once(settings.batch_examples, min(settings.max_tokens, 1_024), micro_tokens(gpu_gib))
    stream = _FLOAT32 if quantized else _BF16  # PEFT holds what a 4-bit model does not have in 4 bits in float32
    done = Pass(
        tokens=rows * settings.max_tokens,
        block_tokens=settings.max_tokens,
        body="lora",
        depth=shape.layers,
        rank=settings.lora.rank,
        width=_BF16,
        stream=stream,
        checkpointed=True,
    )
    tables = extended.tables * stream
    held = _Held(
        weights=_linear(extended, quantized) + tables + adapter * _FLOAT32,
        gradients=adapter * _FLOAT32,
        optimizer=adapter * 2 * _FLOAT32,
        cast=adapter * _BF16,
    )
    return _memory(held, extended, done, 0, table_learns=False, single=rows == settings.batch_examples)


@dataclass(frozen=True)
class _Held:
    """Bytes that last through a step; `cast` through a forward pass."""

    weights: float
    gradients: float
    optimizer: float
    cast: float
    rows: float = 0
    gathered: float = 0
    framework: float = _FRAMEWORK_GIB * GIB


@dataclass(frozen=True)
class _Learning:
    """What a phase trains of a model: parameters by kind."""

    body: int
    embedding: int
    head: int
    rows: int
    adapter: int
    depth: int

    @property
    def own(self) -> int:
        """Parameters of the model itself."""
        return self.body + self.embedding + self.head

    @property
    def all(self) -> int:
        return self.own + self.rows + self.adapter


def _learning(shape: Shape, new_tokens: int, groups: set[str], rank: int) -> _Learning:
    """Input and output rows of a tied model are one table: naming either trains it."""
    sides = {side for side in ("input", "output") if groups & {f"{side}_rows"}}
    new_sides = sides | {side for side in ("input", "output") if groups & {f"new_{side}_rows", "all"}}
    if shape.tied:
        sides, new_sides = ({"input"} if found else set() for found in (sides, new_sides))
    layers = _layers(shape, groups)
    to_the_bottom = bool(new_sides & {"input"} or groups & {"lora", "all"})
    return _Learning(
        body=shape.linear // shape.layers * len(layers),
        embedding=shape.table if "input" in sides else 0,
        head=shape.table if "output" in sides else 0,
        rows=new_tokens * shape.hidden * len(new_sides),
        adapter=shape.lora(rank) if "lora" in groups else 0,
        depth=shape.layers if to_the_bottom else shape.layers - min(layers, default=shape.layers),
    )


def _layers(shape: Shape, groups: set[str]) -> set[int]:
    """Numbers of the layers whose own weights learn."""
    every = set(range(shape.layers))
    if "all" in groups:
        return every
    named = [numbers for group in groups if (numbers := layer_numbers(group)) is not None]
    return {number for numbers in named for number in (numbers or every)} & every


def _phase(
    shape: Shape,
    new_tokens: int,
    settings: PretrainingSettings,
    learning: _Learning,
    learned: _Learning,
    gpu_gib: float,
    gpus: int,
    device: Device,
) -> Memory:
    """One phase; shape: with new tokens; learned: what it trains and phases before it have trained."""
    width = _BF16 if device == "cuda" else _FLOAT32
    adapter = shape.lora(settings.lora.rank) if "lora" in settings.groups else 0
    weights = _linear(shape, settings.quantized_base, width) + shape.tables * width
    weights += learned.own * (_FLOAT32 - width) + adapter * _FLOAT32
    rows = new_tokens * shape.hidden * (1 if shape.tied else 2) * _FLOAT32
    cast = (learning.body + learning.adapter) * width if device == "cuda" else 0
    held = _Held(
        weights=weights / gpus,
        rows=rows / gpus,
        gradients=learning.all * _FLOAT32 / gpus,
        optimizer=_moments(learning, settings) / gpus,
        cast=cast,
        gathered=_gathered(shape, learning, learned, rows, width) if gpus > 1 else 0,
        framework=_FRAMEWORK_GIB * GIB if device == "cuda" else 0,
    )
    batch, limit = settings.batch_blocks // gpus, micro_tokens(gpu_gib) if device == "cuda" else _CPU_TOKENS
    blocks = batch_at_once(max(1, batch), settings.block_tokens, limit)
    done = Pass(
        tokens=blocks * settings.block_tokens,
        block_tokens=settings.block_tokens,
        body="full" if learning.body else "lora" if learning.adapter else "frozen",
        depth=learning.depth,
        rank=settings.lora.rank,
        width=width,
        stream=_FLOAT32 if learned.embedding else width,
        checkpointed=device == "cuda",
    )
    table_learns = bool(learning.head or (learning.embedding and shape.tied))
    return _memory(held, shape, done, new_tokens, table_learns, single=blocks >= batch)


def _memory(held: _Held, shape: Shape, done: Pass, new_rows: int, table_learns: bool, single: bool) -> Memory:
    """The parts at the peak, from bytes."""
    logits = loss_bytes(shape, done, new_rows, table_learns)
    activations = kept_bytes(shape, done) + max(held.cast, working_bytes(shape, done) - logits)
    gradients = max(0.0, held.gradients - activations - logits) if single else held.gradients
    parts = {**vars(held), "gradients": gradients, "activations": activations, "logits": logits}
    return Memory(**{name: part / GIB for name, part in parts.items() if name != "cast"})


def _extended(shape: Shape, new_tokens: int) -> Shape:
    return Shape(**{**vars(shape), "vocabulary": shape.vocabulary + new_tokens})


def _linear(shape: Shape, quantized: bool, width: float = _BF16) -> float:
    return shape.linear * (_NF4 if quantized else width)


def _moments(learning: _Learning, settings: PretrainingSettings) -> float:
    """Both moments of AdamW."""
    if settings.optimizer == "adamw_torch_fused":
        return learning.all * 2 * _FLOAT32
    return (learning.all - learning.embedding) * _MOMENTS_8BIT + learning.embedding * 2 * _FLOAT32


def _gathered(shape: Shape, learning: _Learning, learned: _Learning, rows: float, width: int) -> float:
    """Two layers, one of them on its way; tables and rows; the gradients of a layer and of tables before they part."""
    layer = shape.linear / shape.layers
    layers = 2 * layer * (_FLOAT32 if learned.body else width)
    tables = learned.embedding + learned.head
    weights = shape.tables * width + tables * (_FLOAT32 - width) + rows
    gradients = (layer if learning.body else 0) + learning.embedding + learning.head + learning.rows
    return layers + weights + gradients * _FLOAT32
