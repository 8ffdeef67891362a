"""New tokens from Korean texts. Needs neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.shape import Shape
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.family import Family
from korean_llm.vocabulary.learn import Learner, Merge
from korean_llm.vocabulary.words import count_runs, cut_words
from korean_llm.vocabulary.worth import best_number

_MOST_TOKENS = 65_536
"""How far `new_tokens: auto` looks."""
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class Learned:
    """New tokens and what they were learned from.

    Attributes:
        merges: the new tokens.
        num_bytes: bytes of the text they were learned from.
        start_tokens: tokens of the runs of Hangul in that text before the first merge.
        steps: ids of tokens that are only steps on the way to others: no run of that text holds them in the end.
        counts: how often each of the others stands in that text, by id.
    """

    merges: list[Merge]
    num_bytes: int
    start_tokens: int
    steps: list[int]
    counts: dict[int, int]


def learn(family: Family, texts: Iterable[str], settings: VocabularySettings, shape: Shape) -> Learned:
    """The new tokens for a tokenizer out of Korean texts; `shape` is the unextended model's, for `new_tokens: auto`.

    Raises KoreanLLMError where the texts do not yield as many as are asked for.
    """
    counts, num_bytes = count_runs(family, console.progress(texts, "counting Korean words"))
    with console.working("cutting words"):
        words = cut_words(family, counts, settings.kiwi_weight > 0)

    def learned(wanted: int) -> tuple[Learner, list[Merge]]:
        with console.working("counting pairs"):
            learner = Learner(words, family.rules(), settings.min_count, settings.kiwi_weight)
        return learner, list(console.progress(islice(learner.merges(), wanted), "learning tokens", wanted))

    if settings.new_tokens == "auto":
        learner, merges = learned(_MOST_TOKENS)
        wanted = best_number(shape, learner.start_tokens, merges)
    else:
        wanted = settings.new_tokens
    _check_ids(family, wanted)
    learner, merges = learned(wanted)
    if len(merges) < wanted:
        raise KoreanLLMError(
            f"vocabulary.new_tokens asks for {wanted:,} tokens, but {num_bytes:,} bytes of Korean text yield only"
            f" {len(merges):,} that occur at least {settings.min_count} times (vocabulary.min_count); set new_tokens to"
            f" {len(merges):,} or less, or add Korean text to corpus.sources."
        )
    counts_by_id = learner.produced()
    steps = [id for id, count in counts_by_id.items() if not count]
    return Learned(merges, num_bytes, learner.start_tokens, steps, counts_by_id)


def _check_ids(family: Family, wanted: int) -> None:
    if family.first_id + wanted > _LARGEST_ID:
        raise KoreanLLMError(
            f"vocabulary.new_tokens is {wanted:,}, but ids end at {_LARGEST_ID:,} and the base already has"
            f" {family.first_id:,}; ask for fewer."
        )
