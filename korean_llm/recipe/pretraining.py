"""Section `pretraining`: what learns, in which phases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from korean_llm.recipe.fields import Count, Ratio
from korean_llm.settings import Strict

_GROUPS = ("new_input_rows", "new_output_rows", "input_rows", "output_rows", "lora", "all")
_LAYERS = "layers:"


def _group(value: Any) -> str:
    """A group as one word: its name, or `layers:0,1` for `{layers: [0, 1]}`."""
    if isinstance(value, str) and (value in _GROUPS or value.startswith(_LAYERS)):
        return value
    named = value.get("layers") if isinstance(value, dict) and len(value) == 1 else None
    if named == "all":
        return f"{_LAYERS}all"
    if isinstance(named, list) and named and all(type(number) is int and number >= 0 for number in named):
        return _LAYERS + ",".join(str(number) for number in sorted(set(named)))
    raise ValueError(f"expected one of {', '.join(_GROUPS)}, or layers: [0, 1], or layers: all")


TrainableGroup = Annotated[str, BeforeValidator(_group)]
"""Parameters that learn together. input_rows and output_rows are whole tables, old and new rows; new_input_rows and
new_output_rows the new tokens' rows alone; `layers: [..]` weights of the layers named, from 0; `all` every weight but
old rows."""


def layer_numbers(group: str) -> frozenset[int] | None:
    """The layers that a group `layers:…` names; None for another group, an empty set for all of them."""
    if not group.startswith(_LAYERS):
        return None
    numbers = group.removeprefix(_LAYERS)
    return frozenset() if numbers == "all" else frozenset(map(int, numbers.split(",")))


class LoraSettings(Strict):
    """LoRA adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, gt=0)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str = Field(
        default="all-linear", description="PEFT target, by default every linear layer but the head."
    )


Schedule = Literal["cosine", "linear", "constant"]


class Phase(Strict):
    """One part of pretraining: what learns, for how many tokens, how fast."""

    train: list[TrainableGroup] = Field(min_length=1, description="Groups of parameters that learn.")
    tokens: Count = Field(description="Tokens to read in this phase.")
    learning_rate: float = Field(gt=0)
    schedule: Schedule | None = Field(default=None, description="Where other than the section's.")
    warmup_ratio: Ratio | None = Field(default=None, description="Where other than the section's.")


Rise = Annotated[float, Field(gt=0)]


class Retention(Strict):
    """Relative rises of bits per byte over the model that training began with; 0.01 is one per cent."""

    english_bits_per_byte_rises: Rise | None = None
    korean_bits_per_byte_rises: Rise | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Language of the hold-out → the rise it is allowed."""
        named = {"en": self.english_bits_per_byte_rises, "ko": self.korean_bits_per_byte_rises}
        return {language: rise for language, rise in named.items() if rise is not None}

    @model_validator(mode="after")
    def _one_at_least(self) -> Retention:
        if not self.limits:
            raise ValueError("expected english_bits_per_byte_rises, korean_bits_per_byte_rises, or both")
        return self


class Slowing(Retention):
    """Lower the learning rate at every evaluation that finds a rise."""

    times: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="The rest of the phase learns at this multiple of its rate."
    )


class MergeBack(Strict):
    """Mix the trained weights with those that training began with; rows of new tokens stay as trained.

    slerp goes along the arc between the two (Shoemake 1985) tensor by tensor, linear along the chord.
    """

    method: Literal["linear", "slerp"] = "slerp"
    base_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.25, description="How far from the trained weights towards those it began with."
    )


class PretrainingSettings(Strict):
    """Continued pretraining on packed blocks, in phases."""

    block_tokens: Count = Field(default=4096, description="Tokens in a packed block.")
    batch_blocks: Count = Field(default=64, description="Blocks in one optimizer step.")
    phases: list[Phase] = Field(min_length=1)
    lora: LoraSettings = LoraSettings()
    schedule: Schedule = "cosine"
    warmup_ratio: Ratio = 0.05
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: Literal["adamw_torch_fused", "adamw_8bit"] = "adamw_torch_fused"
    quantized_base: bool = Field(default=False, description="Hold the frozen base in 4-bit NF4 (QLoRA; needs a GPU).")
    stop_if: Retention | None = Field(
        default=None, description="End training where text is forgotten; the last weights within the limits are kept."
    )
    slow_if: Slowing | None = Field(default=None, description="Learn more slowly where text is forgotten.")
    stop_if_loss_exceeds: Annotated[float, Field(gt=1)] = Field(
        default=4.0, description="Times the median of the last 50 steps; a loss that is no number stops in any case."
    )
    merge_back: MergeBack | None = Field(default=None, description="Mix with the base when all phases are done.")
    checkpoint_every_steps: Count = 100
    evaluate_every_steps: Count = 100
    sample_prompts: list[str] = Field(default=[], description="Prompts continued at every evaluation.")

    @property
    def groups(self) -> set[str]:
        """Everything that any phase trains."""
        return {group for phase in self.phases for group in phase.train}

    @model_validator(mode="after")
    def _trains_in_4_bits(self) -> PretrainingSettings:
        extra = sorted(self.groups - {"lora", "new_input_rows", "new_output_rows"})
        if self.quantized_base and extra:
            raise ValueError(
                f"expected phases that train lora, new_input_rows or new_output_rows only: quantized_base holds the"
                f" rest in 4 bits, where {', '.join(extra)} cannot train"
            )
        if self.quantized_base and self.merge_back:
            raise ValueError("expected merge_back or quantized_base, not both: 4-bit weights cannot be mixed")
        return self
