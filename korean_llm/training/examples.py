"""Examples to tune by: conversations, pairs of answers, judged answers and prompts, checked as they are read.

Nothing here needs torch: `korean-llm check` reads the same rows by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from korean_llm.corpus.card import Kind
from korean_llm.corpus.read import Row as Fields
from korean_llm.training.rows import Message, RowError, conversation, read_checked, text_of

TUNING_KINDS: dict[str, tuple[Kind, ...]] = {
    "instruction": ("instructions",),
    "reward": ("preferences",),
    "rejection_sampling": ("instructions", "preferences"),
    "preference": ("preferences",),
    "online": ("instructions", "preferences"),
}
"""Section → kinds of corpora that it reads."""


@dataclass(frozen=True)
class Row:
    """What every kind of row has: an id, and its place for messages, such as "names: a.jsonl line 3"."""

    id: str
    place: str

    @property
    def conversations(self) -> list[list[Message]]:
        """What must fit into the model's window."""
        raise NotImplementedError


@dataclass(frozen=True)
class Example(Row):
    """A conversation to learn the assistant's part of."""

    messages: list[Message]

    @property
    def conversations(self) -> list[list[Message]]:
        """What must fit into the model's window."""
        return [self.messages]


@dataclass(frozen=True)
class Pair(Row):
    """A prompt with a better and a worse answer."""

    prompt: list[Message]
    chosen: Message
    rejected: Message

    @property
    def conversations(self) -> list[list[Message]]:
        """Both conversations, the better first."""
        return [[*self.prompt, self.chosen], [*self.prompt, self.rejected]]


@dataclass(frozen=True)
class Judged(Row):
    """A prompt with one answer, wanted or not."""

    prompt: list[Message]
    answer: Message
    wanted: bool

    @property
    def conversations(self) -> list[list[Message]]:
        """The conversation."""
        return [[*self.prompt, self.answer]]


@dataclass(frozen=True)
class Prompt(Row):
    """A conversation that waits for an answer."""

    messages: list[Message]

    @property
    def conversations(self) -> list[list[Message]]:
        """What must fit into the model's window."""
        return [self.messages]


def read_examples(corpora: list[str], limit: int | None = None, section: str = "instruction") -> list[Example]:
    """All examples of the named instruction corpora: rows of instruction, input and output, or of messages.

    Raises KoreanLLMError where a corpus is of another kind, or naming file, line and field of a faulty row.
    """
    return read_checked(section, corpora, TUNING_KINDS[section], _example, limit)


def read_pairs(corpora: list[str], limit: int | None = None, section: str = "preference") -> list[Pair]:
    """All pairs of the named preference corpora. Raises KoreanLLMError as read_examples does."""
    return read_checked(section, corpora, TUNING_KINDS[section], _pair, limit)


def read_judged(corpora: list[str], limit: int | None = None, section: str = "preference") -> list[Judged]:
    """All answers of the named preference corpora, each alone: both of a pair, or of prompt, completion, label.

    Raises KoreanLLMError as read_examples does.
    """
    rows = read_checked(section, corpora, TUNING_KINDS[section], _judged, limit)
    return [answer for row in rows for answer in row]


def read_prompts(corpora: list[str], limit: int | None = None, section: str = "online") -> list[Prompt]:
    """The prompts of the named instruction or preference corpora. Raises KoreanLLMError as read_examples does."""
    return read_checked(section, corpora, TUNING_KINDS[section], _prompt, limit)


def _example(id: str, place: str, row: Fields) -> Example:
    if row.get("messages") is not None:
        return Example(id, place, conversation(row["messages"], "messages", "assistant"))
    question = text_of(row, "instruction")
    if row.get("input") not in (None, ""):
        if not isinstance(row["input"], str):
            raise RowError(f"expected text in the field 'input', found a value of type {type(row['input']).__name__}")
        question = f"{question}\n\n{row['input'].strip()}".strip()
    return Example(id, place, [_said("user", question), _said("assistant", text_of(row, "output"))])


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _asked(value: Any, row: Fields) -> list[Message]:
    """A prompt: one text, or messages that end with the user's."""
    return conversation(value, "prompt", "user") if isinstance(value, list) else [_said("user", text_of(row, "prompt"))]


def _pair(id: str, place: str, row: Fields) -> Pair:
    prompt = _asked(row.get("prompt"), row)
    chosen, rejected = text_of(row, "chosen"), text_of(row, "rejected")
    if chosen == rejected:
        raise RowError("the fields 'chosen' and 'rejected' hold the same answer")
    if chosen == prompt[-1]["content"]:
        raise RowError("the field 'chosen' repeats the prompt word for word")
    return Pair(id, place, prompt, _said("assistant", chosen), _said("assistant", rejected))


def _judged(id: str, place: str, row: Fields) -> list[Judged]:
    if row.get("completion") is None and row.get("label") is None:
        pair = _pair(id, place, row)
        answers = ((pair.chosen, True), (pair.rejected, False))
        return [Judged(id, place, pair.prompt, answer, wanted) for answer, wanted in answers]
    if not isinstance(label := row.get("label"), bool):
        raise RowError(f"expected true or false in the field 'label', found a value of type {type(label).__name__}")
    answer = _said("assistant", text_of(row, "completion"))
    return [Judged(id, place, _asked(row.get("prompt"), row), answer, label)]


def _prompt(id: str, place: str, row: Fields) -> Prompt:
    if row.get("prompt") is not None:
        return Prompt(id, place, _asked(row["prompt"], row))
    return Prompt(id, place, _example(id, place, row).messages[:-1])
