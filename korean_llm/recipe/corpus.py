"""Section `corpus`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from korean_llm.recipe.fields import Count, Ratio, Shares
from korean_llm.settings import Strict


class CleanSettings(Strict):
    """Which Korean documents are kept. A document that fails a rule is dropped under that rule's name."""

    min_chars: int = Field(default=100, ge=1, description="Shorter documents are dropped (too_short).")
    min_hangul_ratio: Ratio = Field(
        default=0.3,
        description="Share of Hangul among letters below which a Korean document is dropped (little_hangul).",
    )
    max_repeated_line_ratio: Ratio = Field(
        default=0.3, description="Share of repeated lines above which a document is dropped (repeated_lines)."
    )
    max_symbol_ratio: Ratio = Field(
        default=0.3,
        description="Share of symbols among visible characters above which it is dropped (symbols).",
    )


class CorpusSettings(Strict):
    """Text to learn from: sources with shares, cleaning, duplicates, personal data, hold-out."""

    sources: Shares = Field(description="Corpus name or path → share of the training tokens; scaled to sum 1.")
    clean: CleanSettings = CleanSettings()
    near_duplicates: Ratio = Field(
        default=0.8,
        description="Jaccard similarity of 5-character shingles from which a document is a near duplicate; 1: off.",
    )
    personal_data: Literal["mask", "keep"] = Field(
        default="mask", description="Replace personal data found by ko-pii with a label, or keep it."
    )
    split_chars: int = Field(
        default=8_000, ge=500, description="Longer documents are split at paragraphs into parts of about this length."
    )
    holdout: Ratio = Field(default=0.05, description="Share of documents held out, chosen by a hash of their text.")
    max_documents: Count | None = Field(default=None, description="Read at most this many documents per source.")
