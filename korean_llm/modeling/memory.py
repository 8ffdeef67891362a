"""How much GPU memory training takes, by part, before anything is loaded.

Bytes per parameter: bfloat16 weights 2, NF4 with double quantization 0.516 (Dettmers et al. 2023: 4 bits and
0.127 bits of constants). What trains is held as PEFT holds it: adapters in float32 (4 weights + 4 gradient +
8 AdamW), weights of the model itself in bfloat16 (2 gradient + 4 AdamW; 2 with 8-bit AdamW). New rows lie twice in
float32 over every table, whichever of them trains: as they learn, and as they were. Activations assume that one
block's input is kept per layer and one layer is recomputed at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from korean_llm.modeling.shape import Shape
from korean_llm.recipe import InstructionSettings, PretrainingSettings, TrainableGroup

GIB = 1024**3
_BF16, _NF4, _ADAPTER_STATE = 2.0, 0.516, 12.0
_FRAMEWORK_GIB = 1.0  # CUDA context and allocator slack
_LAYER_BYTES_PER_CHANNEL = 2 * (10 + 2)  # one layer's intermediate results of width D, bf16
_LOGIT_BYTES = 10  # per token and vocabulary entry: bf16 logits, float32 copy, float32 gradient


@dataclass(frozen=True)
class Memory:
    """Estimated GPU memory in GiB, by part, at the peak of one stage."""

    weights: float
    rows: float
    gradients_and_optimizer: float
    activations: float
    logits: float
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


def pretraining_memory(shape: Shape, new_tokens: int, settings: PretrainingSettings, gpu_gib: float) -> Memory:
    """The largest need of any phase: everything that some phase trains is counted."""
    groups = settings.groups
    extended = _extended(shape, new_tokens)
    held_rows = new_tokens * shape.hidden * (1 if shape.tied else 2)
    if "all" in groups:
        groups |= {"new_input_rows", "new_output_rows"}
    rows = new_tokens * shape.hidden * _num_tables(shape, groups, "new_")
    adapter = shape.lora(settings.lora.rank) if "lora" in groups else 0
    own = extended.linear if "all" in groups else 0
    own += extended.table * _num_tables(shape, groups, "")
    state = 2 + (4 if settings.optimizer == "adamw_torch_fused" else 2)
    tokens = min(micro_tokens(gpu_gib), settings.block_tokens * settings.batch_blocks)
    return Memory(
        weights=_weights(extended, settings.quantized_base) / GIB,
        rows=held_rows * 2 * 4 / GIB,
        gradients_and_optimizer=((rows + adapter) * _ADAPTER_STATE + adapter * 4 + own * state) / GIB,
        activations=_activations(extended, max(tokens, settings.block_tokens)) / GIB,
        logits=_logits(extended, max(tokens, settings.block_tokens)) / GIB,
    )


def instruction_memory(shape: Shape, new_tokens: int, settings: InstructionSettings, gpu_gib: float) -> Memory:
    """Peak of LoRA or QLoRA instruction tuning at full length."""
    extended = _extended(shape, new_tokens)
    adapter = shape.lora(settings.lora.rank)
    tokens = max(settings.max_tokens, min(micro_tokens(gpu_gib), settings.max_tokens * settings.batch_examples))
    return Memory(
        weights=_weights(extended, settings.method == "qlora") / GIB,
        rows=0.0,
        gradients_and_optimizer=adapter * (4 + _ADAPTER_STATE) / GIB,
        activations=_activations(extended, tokens) / GIB,
        logits=_logits(extended, tokens) / GIB,
    )


def _num_tables(shape: Shape, groups: set[TrainableGroup], prefix: str) -> int:
    """Tables whose rows the groups train; input and output rows of a tied model are one table."""
    named = sum(f"{prefix}{side}_rows" in groups for side in ("input", "output"))
    return min(named, 1) if shape.tied else named


def _extended(shape: Shape, new_tokens: int) -> Shape:
    return Shape(**{**vars(shape), "vocabulary": shape.vocabulary + new_tokens})


def _weights(shape: Shape, quantized: bool) -> float:
    return shape.linear * (_NF4 if quantized else _BF16) + shape.tables * _BF16


def _activations(shape: Shape, tokens: int) -> float:
    kept = shape.layers * tokens * shape.hidden * _BF16
    recomputed = tokens * (shape.hidden * _LAYER_BYTES_PER_CHANNEL + shape.feed_forward * 3 * 2 * _BF16)
    return kept + recomputed


def _logits(shape: Shape, tokens: int) -> float:
    return tokens * shape.vocabulary * _LOGIT_BYTES
