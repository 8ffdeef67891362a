"""Section `vocabulary`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from korean_llm.recipe.fields import Count, Ratio, parse_count
from korean_llm.settings import Strict


def _new_tokens(value: Any) -> Any:
    """A count, or auto."""
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(number := parse_count(value), int) or number < 1:
        raise ValueError("expected a whole number from 1, or auto")
    return number


NewTokens = Annotated[Any, BeforeValidator(_new_tokens)]
"""Number of tokens, or "auto"."""

Start = Literal[
    "auto",
    "mean",
    "first",
    "last",
    "length_weighted",
    "frequency_weighted",
    "late_weighted",
    "mean_noise",
    "normal",
    "global_mean",
    "nearest",
    "pursuit",
    "fitted",
]
"""How rows of new tokens start; vocabulary.starts says what each is and where it comes from."""


class VocabularySettings(Strict):
    """New Korean tokens for the base's tokenizer."""

    new_tokens: NewTokens = Field(
        description="Number of tokens to add; auto: as many as save more compute than their rows cost."
    )
    min_count: int = Field(default=2, ge=1, description="A merge seen less often in the corpus is not learned.")
    kiwi_weight: Ratio = Field(
        default=0.5,
        description="How much less a token counts where it would cut a morpheme of Kiwi's; 0: Kiwi is not asked.",
    )
    initialise: Start = Field(
        default="fitted",
        description="How new rows start; auto: every way is measured on held-out text, and the best one kept.",
    )
    initialise_output: Start | None = Field(
        default=None, description="How new rows of an untied model's head start, where other than the embedding's."
    )
    learn_max_bytes: Count = Field(
        default=64_000_000, description="Korean text to learn from, at most, mixed by the shares of corpus.sources."
    )
