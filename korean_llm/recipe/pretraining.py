"""Section `pretraining`: what learns, in which phases."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from korean_llm.recipe.fields import Count, Ratio
from korean_llm.settings import Strict

TrainableGroup = Literal["new_input_rows", "new_output_rows", "input_rows", "output_rows", "lora", "all"]


class LoraSettings(Strict):
    """LoRA adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, gt=0)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str = Field(
        default="all-linear", description="PEFT target, by default every linear layer but the head."
    )


class Phase(Strict):
    """One part of pretraining: what learns, for how many tokens, how fast."""

    train: list[TrainableGroup] = Field(min_length=1, description="Groups of parameters that learn.")
    tokens: Count = Field(description="Tokens to read in this phase.")
    learning_rate: float = Field(gt=0)


class PretrainingSettings(Strict):
    """Continued pretraining on packed blocks, in phases."""

    block_tokens: Count = Field(default=4096, description="Tokens in a packed block.")
    batch_blocks: Count = Field(default=64, description="Blocks in one optimizer step.")
    phases: list[Phase] = Field(min_length=1)
    lora: LoraSettings = LoraSettings()
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: Ratio = 0.05
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: Literal["adamw_torch_fused", "adamw_8bit"] = "adamw_torch_fused"
    quantized_base: bool = Field(default=False, description="Hold the frozen base in 4-bit NF4 (QLoRA; needs a GPU).")
    checkpoint_every_steps: Count = 100
    evaluate_every_steps: Count = 100
    sample_prompts: list[str] = Field(default=[], description="Prompts continued at every evaluation.")

    @property
    def groups(self) -> set[TrainableGroup]:
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
        return self
