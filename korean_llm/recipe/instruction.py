"""Section `instruction`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korean_llm.recipe.fields import Count
from korean_llm.recipe.tuning import Tuning

InstructionMethod = Literal["lora", "dora", "qlora", "prefix", "prompt", "head", "full"]


class InstructionSettings(Tuning):
    """Instruction tuning on the assistant's tokens only."""

    method: InstructionMethod = Field(
        default="lora",
        description="lora, dora, qlora (NF4 base; needs a GPU), prefix or prompt (virtual tokens) write an adapter;"
        " head (the output head alone) and full (every weight) write a model.",
    )
    epochs: float = Field(default=3.0, gt=0)
    packing: bool = Field(
        default=True,
        description="Put several examples into one row, none seeing another; prefix and prompt never do, since their"
        " virtual tokens stand before every example.",
    )
    virtual_tokens: Count = Field(default=16, description="Tokens that prefix or prompt tuning learns.")

    @property
    def writes(self) -> Literal["model", "adapter"]:
        """What the stage leaves behind."""
        return "model" if self.method in ("head", "full") else "adapter"
