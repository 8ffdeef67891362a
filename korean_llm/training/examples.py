"""Instruction data: rows of a corpus checked and turned into conversations before any model is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from korean_llm.chat import Chat
from korean_llm.corpus.card import load_card
from korean_llm.corpus.read import read_rows
from korean_llm.errors import KoreanLLMError

_HOLDOUT = 0.05


@dataclass(frozen=True)
class Example:
    """One instruction with its answer, as a conversation of two messages."""

    id: str
    messages: list[dict[str, str]]


def read_examples(corpora: list[str], max_examples: int | None) -> list[Example]:
    """All examples of the named instruction corpora.

    Raises KoreanLLMError where a corpus is of another kind, or a row has no instruction or no answer.
    """
    examples: list[Example] = []
    for name in corpora:
        card = load_card(name)
        if card.model.kind != "instructions":
            raise KoreanLLMError(f"instruction.data: {name!r} holds {card.model.kind}, expected instructions.")
        for row in read_rows(card):
            examples.append(_example(card.name, row))
            if max_examples and len(examples) >= max_examples:
                return examples
    return examples


def _example(corpus: str, row: dict[str, Any]) -> Example:
    for field in ("instruction", "output"):
        if not row[field].strip():
            raise KoreanLLMError(f"{corpus}: the row {row['id']!r} has an empty {field}; complete it or take it out.")
    question = f"{row['instruction']}\n\n{row['input']}".strip()
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"].strip()}]
    return Example(row["id"], messages)


@dataclass(frozen=True)
class Split:
    """Examples to train on and to measure with, and how many were too long."""

    train: list[Example]
    holdout: list[Example]
    too_long: int


def split(examples: list[Example], chat: Chat, max_tokens: int) -> Split:
    """Leave out what is longer than max_tokens; hold out 5 % by a hash of the id, at least one example.

    Raises KoreanLLMError where nothing is left, or where an answer would be trained without its end token.
    """
    fitting = []
    for example in examples:
        ids, mask = chat.encode(example.messages)
        spoken = [token for token, spoken in zip(ids, mask, strict=True) if spoken]
        if not spoken or spoken[-1] != chat.tokenizer.eos_token_id:
            raise KoreanLLMError(
                f"example {example.id!r}: the chat template does not end the answer with the end token"
                f" {chat.tokenizer.eos_token!r}, so a tuned model would never stop; mend the template."
            )
        if len(ids) <= max_tokens:
            fitting.append(example)
    ranked = sorted(fitting, key=lambda example: hashlib.sha256(example.id.encode()).hexdigest())
    count = max(1, round(_HOLDOUT * len(ranked)))
    if len(ranked) <= count:
        raise KoreanLLMError(
            f"only {len(ranked)} of {len(examples)} instruction examples fit into {max_tokens} tokens;"
            " raise instruction.max_tokens or give more data."
        )
    return Split(ranked[count:], ranked[:count], len(examples) - len(fitting))
