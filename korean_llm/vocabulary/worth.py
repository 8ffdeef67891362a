"""What an extension buys and costs, how many tokens are best, and whether to extend at all.

A forward pass costs about 2 FLOPs per weight and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), training
three times that, and generating one token reads every weight once: in all three the cost of a token grows with
body + head, so the cost of a text is tokens × (body + D × rows). Attention over the context is left out: it shrinks
with the tokens too, so the saving is understated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.shape import Shape
from korean_llm.vocabulary.learn import Merge

LEAST_SAVED = 0.2
"""Share of context that must be saved on held-out text before an extension is recommended.

Published extensions that paid saved 0.43 (RedWhale, arXiv 2408.11294) and more, all on Llama-2's or Mistral's
tokenizer; below a fifth, what is saved does not make up for rows that have to be learned anew.
"""
TYPICAL = Shape(4096, 32, 11008, 32000, 32, 32, 128, tied=False)
"""Llama-2-7B, taken where only a tokenizer is given."""
_BF16_BYTES = 2


def text_cost(shape: Shape, new_tokens: int) -> float:
    """Weights that take part in one token's pass: body and head."""
    return shape.linear + shape.hidden * (shape.vocabulary + new_tokens)


def cost_ratio(shape: Shape, new_tokens: int, tokens_ratio: float) -> float:
    """Cost of a text with the extension over its cost without."""
    return tokens_ratio * text_cost(shape, new_tokens) / text_cost(shape, 0)


def added_parameters(shape: Shape, new_rows: int) -> int:
    """Parameters of the added rows in all tables."""
    return new_rows * shape.hidden * (1 if shape.tied else 2)


def best_number(shape: Shape, start_tokens: int, merges: Sequence[Merge]) -> int:
    """The number of new tokens where the share of compute saved less the share of parameters added is largest.

    Both are shares of the base, so that the last thousand tokens are taken only as long as the compute they save
    outweighs the memory their rows take.
    """

    def gain(i: int) -> float:
        saved = 1 - cost_ratio(shape, i + 1, merges[i].tokens_left / start_tokens)
        return saved - added_parameters(shape, i + 1) / shape.parameters

    return max(range(len(merges)), key=gain) + 1


def verdict(shape: Shape, new_tokens: int, num_rows: int, tokens_ratio: float) -> dict[str, Any]:
    """What the extension brings on held-out text: shares in [0, 1], parameters, bytes in bf16, speed per character.

    Args:
        shape: of the unextended model.
        new_tokens: tokens added.
        num_rows: rows of the extended table, padding included.
        tokens_ratio: tokens of held-out Korean with the extension over those without.
    """
    rows = max(num_rows - shape.vocabulary, 0)
    added = added_parameters(shape, rows)
    saved = 1 - tokens_ratio
    return {
        "recommendation": f"extend by {new_tokens:,}" if saved >= LEAST_SAVED else "do not extend",
        "context_saved_ratio": round(saved, 4),
        "least_context_saved_ratio": LEAST_SAVED,
        "rows_added": rows,
        "parameters_added": added,
        "parameters_added_ratio": round(added / shape.parameters, 4),
        "memory_added_bytes": added * _BF16_BYTES,
        "speedup_per_char": round(1 / cost_ratio(shape, rows, tokens_ratio), 3),
    }


def judge(shape: Shape, new_tokens: int, num_rows: int, measured: dict[str, Any], *, auto: bool) -> dict[str, Any]:
    """The verdict on an extension by what was measured on Korean (report.compare_fertility).

    Raises KoreanLLMError where the number was left to us (`auto`) and none is worth it.
    """
    tokens = measured["total"]["tokens"]
    judged = verdict(shape, new_tokens, num_rows, tokens["extended"] / max(tokens["base"], 1))
    if auto and judged["recommendation"] == "do not extend":
        raise KoreanLLMError(
            f"do not extend: the best extension, by {new_tokens:,} tokens, would save"
            f" {judged['context_saved_ratio']:.0%} of the tokens of {measured['measured_on']} Korean, and below"
            f" {LEAST_SAVED:.0%} it does not pay for learning new rows; leave the vocabulary as it is, or give"
            " new_tokens as a number."
        )
    return judged
