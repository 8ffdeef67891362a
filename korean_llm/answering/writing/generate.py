"""Text from a language model, piece by piece: the interface, and the settings that mean something."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Protocol

from korean_llm.answering.answer import Sampling
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError

GREEDY = Sampling()


class Generator(Protocol):
    """A model that continues a conversation.

    Attributes:
        budget: what a prompt may measure.
        name: what people call it.
        fingerprint, adapter_fingerprint: change where what it says may change; the adapter's is "" without one.
    """

    budget: int
    name: str
    fingerprint: str
    adapter_fingerprint: str

    def measure(self, messages: list[Message]) -> int:
        """Length of a conversation, in the unit of the budget."""

    def generate(
        self, messages: list[Message], sampling: Sampling = GREEDY, stop: Event | None = None
    ) -> Iterator[str]:
        """The answer in whole syllables, "" where a step completed none.

        stop: set it from another thread and the answer ends within a token. Leaving the iterator stops it, too.
        Raises KoreanLLMError.
        """


def checked_sampling(sampling: Sampling) -> Sampling:
    """The settings. Raises KoreanLLMError for a temperature, top_p or number of tokens that means nothing."""
    limits = (
        ("temperature", sampling.temperature, 0 <= sampling.temperature <= 2, "from 0 (the likeliest word) to 2"),
        ("top_p", sampling.top_p, 0 < sampling.top_p <= 1, "above 0 and up to 1"),
        ("max_new_tokens", sampling.max_new_tokens, (sampling.max_new_tokens or 1) > 0, "at least 1"),
        ("seed", sampling.seed, 0 <= sampling.seed < 2**63, "from 0 to 2^63 - 1"),
    )
    for name, value, good, expected in limits:
        if not good:
            raise KoreanLLMError(f"{name} {value} is not accepted; expected a number {expected}.")
    return sampling
