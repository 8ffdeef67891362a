"""Section `instruction`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korean_llm.recipe.fields import Count
from korean_llm.recipe.pretraining import LoraSettings
from korean_llm.settings import Strict


class InstructionSettings(Strict):
    """LoRA instruction tuning on assistant tokens only."""

    method: Literal["lora", "qlora"] = "lora"
    data: list[str] = Field(min_length=1, description="Instruction corpora by name or path.")
    epochs: float = Field(default=3.0, gt=0)
    max_examples: Count | None = None
    max_tokens: Count = Field(default=2048, description="Longer examples are dropped and counted.")
    batch_examples: Count = Field(default=32, description="Examples in one optimizer step.")
    learning_rate: float = Field(default=2e-4, gt=0)
    lora: LoraSettings = LoraSettings()
    checkpoint_every_steps: Count = 100
