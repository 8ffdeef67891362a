"""Sections `rejection_sampling` and `online`: the model's own answers, judged by the reward model."""

from __future__ import annotations

from pydantic import Field

from korean_llm.recipe.fields import Count
from korean_llm.recipe.pretraining import LoraSettings
from korean_llm.settings import Strict


class Sampling(Strict):
    """How answers are drawn."""

    data: list[str] = Field(
        min_length=1, description="Instruction or preference corpora, by name or path; only their prompts are read."
    )
    max_prompts: Count | None = Field(default=None, description="Read at most this many prompts.")
    max_prompt_tokens: Count = Field(default=1024, description="Longer prompts are left out, named and counted.")
    answers: int = Field(default=8, ge=2, description="Answers drawn for each prompt.")
    max_answer_tokens: Count = Field(default=512, description="An answer that has not ended by then is cut.")
    temperature: float = Field(default=1.0, gt=0)


class RejectionSamplingSettings(Sampling):
    """Best of n: of several answers to each prompt the best-scored one becomes an instruction corpus.

    (Touvron et al. 2023, arXiv 2307.09288, section 3.2.3; the corpus is for the `instruction` of a following run.)
    """


class OnlineSettings(Sampling):
    """GRPO on the model's own answers (Shao et al. 2024, arXiv 2402.03300), rewarded by the reward model."""

    steps: Count = Field(default=200, description="Optimizer steps.")
    batch_prompts: Count = Field(default=8, description="Prompts in one step, each with its answers.")
    learning_rate: float = Field(default=1e-5, gt=0)
    beta: float = Field(default=0.04, ge=0, description="Weight of the KL divergence from the starting model.")
    lora: LoraSettings = LoraSettings()
    quantized_base: bool = Field(default=False, description="Hold the frozen base in 4-bit NF4 (needs a GPU).")
    checkpoint_every_steps: Count = 50
