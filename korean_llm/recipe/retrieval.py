"""Section `retrieval`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korean_llm.recipe.fields import ModelSource, Ratio
from korean_llm.settings import Strict


class RetrievalSettings(Strict):
    """Hybrid index: Kiwi + bigram BM25 and dense vectors, fused by weighted z-score."""

    documents: list[str] = Field(min_length=1, description="Corpora to index, by name or path.")
    questions: list[str] = Field(default=[], description="Question sets to measure with, by name or path.")
    analyzer: Literal["kiwi+bigram", "kiwi", "bigram"] = "kiwi+bigram"
    encoder: ModelSource | None = Field(default=None, description="Sentence encoder; none means lexical only.")
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "
    passage_chars: int = Field(default=400, ge=50, description="Target length of a passage, in characters.")
    dense_weight: Ratio = Field(default=0.35, description="Weight of the dense score in the fusion.")
