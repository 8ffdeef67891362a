"""What every section that tunes by examples has in common."""

from __future__ import annotations

from pydantic import Field

from korean_llm.recipe.fields import Count
from korean_llm.recipe.pretraining import LoraSettings
from korean_llm.settings import Strict


class Tuning(Strict):
    """Passes over a corpus of examples with an adapter on a frozen model."""

    data: list[str] = Field(min_length=1, description="Corpora of this section's kind, by name or path.")
    epochs: float = Field(default=1.0, gt=0)
    max_examples: Count | None = Field(default=None, description="Read at most this many rows in all.")
    max_tokens: Count = Field(default=2048, description="Longer examples are left out, named and counted.")
    batch_examples: Count = Field(default=32, description="Examples in one optimizer step; where packed, on average.")
    learning_rate: float = Field(default=2e-4, gt=0)
    lora: LoraSettings = LoraSettings()
    checkpoint_every_steps: Count = 100
