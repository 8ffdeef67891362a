"""Sections `export`, `retrieval` and `evaluation`: what is published, searched and measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korean_llm.recipe.fields import Count, Ratio
from korean_llm.settings import Strict


class ExportSettings(Strict):
    """Files that are published and served."""

    formats: list[Literal["safetensors", "gguf-q8_0", "gguf-q4_k_m"]] = Field(
        default=["safetensors", "gguf-q8_0", "gguf-q4_k_m"], min_length=1
    )
    max_bits_per_byte_loss: Ratio = Field(
        default=0.15,
        description="Relative rise of Korean bits per byte from which a quantized file is refused.",
    )


class EvaluationSettings(Strict):
    """The report: self-contained HTML and the same as JSON."""

    holdout_bytes: Count = Field(default=200_000, description="Bytes of hold-out text per language to score.")
    sample_prompts: list[str] = Field(default=[], description="Prompts continued by every model of the run.")
    sample_sentences: list[str] = Field(default=[], description="Sentences whose token boundaries are drawn.")
