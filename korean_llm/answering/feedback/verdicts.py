"""What a reader said of an answer, to learn from: a text under its prompt, wanted or not, personal data masked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from korean_llm.answering.feedback.numbers import as_prompted
from korean_llm.answering.feedback.store import Remembered
from korean_llm.artifact import digest
from korean_llm.corpus.personal import mask
from korean_llm.hangul import hangul_ratio
from korean_llm.training.rows import Message, RowError, conversation

MIN_CHARS, MAX_CHARS = 10, 8_000
MIN_HANGUL = 0.3
_DAMAGED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd]")


@dataclass(frozen=True)
class Said:
    """An answer that can be learned from, masked.

    Attributes:
        of: the answer as it is remembered, not masked.
        key: the same for the same prompt.
        text, edited: with the numbers that the prompt gave its passages; edited is "" where it was not.
    """

    of: Remembered
    key: str
    prompt: list[Message]
    text: str
    edited: str

    @property
    def made_by(self) -> dict[str, str]:
        """What made it: fingerprints of model, adapter and index, beside the answer's own id."""
        trace = self.of.answer.trace
        return {"id": self.of.id, "model": trace.model, "adapter": trace.adapter, "index": trace.index}


@dataclass(frozen=True)
class Verdict:
    """A text under a prompt, wanted or not; signal: vote or edit."""

    said: Said
    text: str
    wanted: bool
    signal: str

    @property
    def place(self) -> tuple[str, str]:
        """The prompt's key and the text."""
        return self.said.key, self.text


def said(item: Remembered, dropped: Counter[str], masked: Counter[str]) -> Said | None:
    """The answer to learn from, or None where it cannot be; dropped and masked count why, and what was masked."""
    answer = item.answer
    if reason := _unusable(item):
        dropped[reason] += 1
        return None
    try:
        prompt = conversation(list(answer.trace.prompt), "prompt", "user")
        texts = [as_prompted(text, answer.citations, prompt[-1]["content"]) for text in (answer.text, item.edited)]
    except RowError:
        dropped["unfit_prompt"] += 1
        return None
    except LookupError:
        dropped["lost_citation"] += 1
        return None
    clean: list[Any] = []
    for text in (*texts, *(message["content"] for message in prompt)):
        without, found = _mask(text)
        masked.update(found)
        clean.append(without.strip())
    messages = [{**message, "content": content} for message, content in zip(prompt, clean[2:], strict=True)]
    return Said(item, digest(messages), messages, clean[0], clean[1])


@lru_cache(maxsize=512)
def _mask(text: str) -> tuple[str, Counter[str]]:
    """Masked; answers to the same prompt need not be searched for the same things again."""
    return mask(text)


def _unusable(item: Remembered) -> str:
    answer = item.answer
    if not answer.trace.prompt:
        return "no_prompt"
    if answer.kept_from and answer.kept_from != answer.question:
        return "other_question"
    return "cut_short" if answer.stopped and not item.edited else ""


def verdicts(said: Said) -> Iterator[Verdict]:
    """What the reader said of the answer; an edit says more than a vote, which may be about either text."""
    if said.edited and said.edited != said.text:
        yield Verdict(said, said.edited, True, "edit")
        yield Verdict(said, said.text, False, "edit")
    elif said.of.vote:
        yield Verdict(said, said.text, said.of.vote == "up", "vote")


def fit(verdict: Verdict) -> bool:
    """Whether the text may be learned from: what is imitated must be good, what is avoided must be something."""
    text = verdict.text
    whole = bool(text) and not _DAMAGED.search(text) and len(text) <= MAX_CHARS
    if not whole or not verdict.wanted:
        return whole
    repeats = any(text == message["content"] for message in verdict.said.prompt)
    return len(text) >= MIN_CHARS and hangul_ratio(text) >= MIN_HANGUL and not repeats
