"""The models a server offers: a run's cited answers, its plain language model, its encoder."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.answering.answer import Answer, Answerer, Piece, Request, Sampling
from korean_llm.answering.feedback import Feedback
from korean_llm.answering.writing.generate import Generator
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.encoder import Encoder
from korean_llm.serving.limits import Gate
from korean_llm.serving.refusal import RefusedError

Finish = Literal["stop", "length"]
_BATCH = 16
"""Texts encoded between two looks at whether the client is still there."""


@dataclass(frozen=True)
class Asked:
    """What a client wants answered: the conversation as sent, and as this project asks."""

    messages: list[Message]
    request: Request
    user: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens, counted with the run's own tokenizer."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class End:
    """What is known once an answer is whole.

    Attributes:
        answer: with its citations; None where the plain model spoke.
        usage: None where the run has no tokenizer to count with.
        answer_id: to send feedback on; "" where feedback is not kept.
    """

    finish: Finish
    usage: Usage | None
    answer: Answer | None = None
    answer_id: str = ""


class Counter:
    """Counts tokens with a tokenizer, or says that there is none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._tokenizer = tokenizer

    def usage(self, prompt: str, completion: str) -> Usage | None:
        """Tokens of both texts; the few that a chat template puts around messages are not counted."""
        if self._tokenizer is None:
            return None
        return Usage(
            *(len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (prompt, completion))
        )


@dataclass(frozen=True)
class Speaker:
    """A model of the server that answers chats.

    Attributes:
        id: its name to clients. gate: who may ask it at the same time.
        speak: pieces, then the end; blocking. Raises KoreanLLMError where its engine fails.
    """

    id: str
    gate: Gate
    speak: Callable[[Asked, Event], Iterator[Piece | End]]


def cited(
    answerer: Answerer, counter: Counter, feedback: Feedback | None
) -> Callable[[Asked, Event], Iterator[Piece | End]]:
    """Answers from the run's documents."""

    def speak(asked: Asked, stop: Event) -> Iterator[Piece | End]:
        for piece in answerer.stream(asked.request, stop):
            if piece.answer is None:
                yield piece
                continue
            answer = piece.answer
            prompt = "\n".join(message["content"] for message in answer.trace.prompt) or answer.question
            usage = counter.usage(prompt, answer.text)
            id = _remembered(feedback, answer, asked.user)
            sampling = Sampling() if answer.mode == "extractive" else asked.request.sampling  # extracts are never cut
            yield End(_finish(sampling, usage, answer.stopped), usage, answer, id)

    return speak


def plain(generator: Generator, counter: Counter) -> Callable[[Asked, Event], Iterator[Piece | End]]:
    """What the language model itself says to the conversation, without documents."""

    def speak(asked: Asked, stop: Event) -> Iterator[Piece | End]:
        if generator.measure(asked.messages) > generator.budget:
            raise RefusedError(
                400, "context_length_exceeded", "the conversation is too long for the model", param="messages"
            )
        said: list[str] = []
        for text in generator.generate(asked.messages, sampling=asked.request.sampling, stop=stop):
            said.append(text)
            if text:
                yield Piece(text)
        usage = counter.usage("\n".join(message["content"] for message in asked.messages), "".join(said))
        yield End(_finish(asked.request.sampling, usage, stop.is_set(), len(said)), usage)

    return speak


def _finish(sampling: Sampling, usage: Usage | None, stopped: bool, num_steps: int = 0) -> Finish:
    """num_steps: texts that the model gave one by one, some of them empty; a token of its own each, or several."""
    said = max(num_steps, usage.completion_tokens if usage else 0)
    return "length" if stopped or said >= (sampling.max_new_tokens or math.inf) else "stop"


def _remembered(feedback: Feedback | None, answer: Answer, user: str) -> str:
    """The answer's id; "" where feedback is not kept or cannot be, which does not take the answer away."""
    if feedback is None or answer.stopped:
        return ""
    try:
        return feedback.remember(answer, user or "api")
    except KoreanLLMError as error:
        console.note(str(error))
        return ""


def told(feedback: Feedback, answer_id: str, kind: str, text: str) -> None:
    """Write feedback down. Raises RefusedError where it is about no answer, or cannot be kept."""
    try:
        feedback.record(answer_id, kind, text)  # type: ignore[arg-type]  # the schema has checked the kind
    except KoreanLLMError as error:
        if isinstance(error.__cause__, sqlite3.Error):
            console.note(str(error))
            raise RefusedError(
                503, "not_kept", "the feedback could not be kept; send it again", retry_after_s=2
            ) from None
        raise RefusedError(400, "invalid_feedback", str(error)) from None


@dataclass(frozen=True)
class Batch:
    """Some texts encoded: (M, D) float32, normalised, and the tokens that they had."""

    vectors_MD: np.ndarray
    num_tokens: int


def vectors(encoder: Encoder, texts: list[str], kind: str, stop: Event) -> Iterator[Batch]:
    """The texts' vectors, encoded with the prefix of their kind; ends early where stopped."""
    for start in range(0, len(texts), _BATCH):
        if stop.is_set():
            return
        batch = texts[start : start + _BATCH]
        found = encoder.passages(batch) if kind == "passage" else np.stack([encoder.query(text) for text in batch])
        yield Batch(found, _num_tokens(encoder, batch))


def _num_tokens(encoder: Encoder, texts: list[str]) -> int:
    """Tokens of the texts without padding; static encoders have no mask, for they pad nothing."""
    features = encoder.model.preprocess(texts)
    return int(features["attention_mask"].sum()) if "attention_mask" in features else features["input_ids"].numel()
