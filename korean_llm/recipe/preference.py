"""Sections `reward` and `preference`: learning from pairs of a better and a worse answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korean_llm.recipe.fields import Count
from korean_llm.recipe.tuning import Tuning


class RewardSettings(Tuning):
    """A reward model: an adapter with one score as its head (Ouyang et al. 2022, arXiv 2203.02155)."""

    learning_rate: float = Field(default=1e-4, gt=0)


class PreferenceSettings(Tuning):
    """Preference tuning of the instruction adapter, which is also the reference it is held to."""

    method: Literal["dpo", "kto"] = Field(
        default="dpo",
        description="dpo compares two answers (Rafailov et al. 2023, arXiv 2305.18290); kto judges each alone"
        " (Ethayarajh et al. 2024, arXiv 2402.01306) and also reads rows of prompt, completion and label.",
    )
    beta: float = Field(default=0.1, gt=0, description="How strongly the reference holds.")
    quantized_base: bool = Field(default=False, description="Hold the frozen base in 4-bit NF4 (needs a GPU).")
    learning_rate: float = Field(default=2e-5, gt=0)
    batch_examples: Count = Field(default=32, ge=2, description="Pairs, or with kto single answers, in one step.")
