"""Section `retrieval`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

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
    passage_chars: int = Field(default=1_200, ge=50, description="Target length of a passage, in characters.")
    small_passage_chars: int = Field(default=300, ge=50, description="Target length of what the encoder reads.")
    dense_weight: Ratio = Field(default=0.35, description="Weight of the dense score in the fusion.")
    fusion: Literal["z-score", "rrf", "min-max"] = Field(default="z-score", description="How the arms are fused.")
    dictionary: list[str] = Field(default=[], description="Terms of your own, with or without spaces.")
    exact: bool = Field(default=False, description="Analyse whole texts rather than eojeol by eojeol; slower.")
    store: Literal["local", "milvus"] = Field(default="local", description="What does the searches.")
    milvus_uri: str | None = Field(default=None, description="Of a Milvus server, or a file for Milvus Lite.")
    milvus_name: str = Field(default="korean_llm", pattern=r"^[A-Za-z_]\w*$", description="Name of its collections.")

    @model_validator(mode="after")
    def _milvus_has_a_uri(self) -> RetrievalSettings:
        if (self.store == "milvus") != (self.milvus_uri is not None):
            raise ValueError("expected milvus_uri with store: milvus, and with nothing else")
        return self
