"""Replies in OpenAI's shapes, with what only a cited answer has in fields of its own beside them."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np

from korean_llm.answering.answer import Answer, Piece
from korean_llm.serving.speak import Batch, End, Usage

DONE = b"data: [DONE]\n\n"

_EXTENSION = ("citations", "nearest", "found", "steps", "notice", "understood", "kept_from", "mode", "stopped")
"""Fields of an answer that stand at the top of a reply, and of the last chunk of a stream."""


@dataclass(frozen=True)
class Reply:
    """One chat completion, whole or in chunks."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, pieces: list[Piece], end: End) -> dict[str, Any]:
        """A chat.completion object."""
        message = {"role": "assistant", "content": "".join(piece.text for piece in pieces), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.finish}
        return {
            **self._object("chat.completion", [choice]),
            "usage": usage(end.usage),
            **extension(end),
        }

    def opening(self) -> dict[str, Any]:
        """The first chunk: who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """A chunk for a piece; `citation` stands beside a mark, `step` beside what was done on the way."""
        extra: dict[str, Any] = {}
        if piece.citation is not None:
            extra["citation"] = asdict(piece.citation)
        if piece.step is not None:
            extra["step"] = asdict(piece.step)
        return {**self._chunk({"content": piece.text}), **extra}

    def closing(self, end: End) -> dict[str, Any]:
        """The last chunk: why it ends, and the whole answer's citations."""
        return {**self._chunk({}, end.finish), **extension(end)}

    def usage_chunk(self, end: End) -> dict[str, Any]:
        """The chunk after the last one, where the client asked for usage."""
        return {**self._object("chat.completion.chunk", []), "usage": usage(end.usage)}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._object("chat.completion.chunk", [choice])

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def extension(end: End) -> dict[str, Any]:
    """The fields that a cited answer adds; none for the plain model."""
    if end.answer is None:
        return {}
    answer: Answer = end.answer
    value = answer.as_dict()
    return {**{name: value[name] for name in _EXTENSION}, "answer_id": end.answer_id}


def usage(counted: Usage | None) -> dict[str, int] | None:
    """A usage object; None where nothing could be counted."""
    if counted is None:
        return None
    return {**asdict(counted), "total_tokens": counted.prompt_tokens + counted.completion_tokens}


def embeddings(model: str, batches: list[Batch], in_base64: bool) -> dict[str, Any]:
    """An embeddings list; in base64 a vector is its little-endian float32 bytes."""
    vectors = [vector for batch in batches for vector in batch.vectors_MD]
    data = [
        {"object": "embedding", "index": number, "embedding": _base64(vector) if in_base64 else vector.tolist()}
        for number, vector in enumerate(vectors)
    ]
    tokens = sum(batch.num_tokens for batch in batches)
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def models(ids: list[str], created: int) -> list[dict[str, Any]]:
    """Model objects."""
    return [{"id": id, "object": "model", "created": created, "owned_by": "korean-llm"} for id in ids]
