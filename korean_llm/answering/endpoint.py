"""A language model behind an OpenAI-compatible endpoint: vLLM, llama.cpp's server, Ollama and others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAI, OpenAIError, Timeout

from korean_llm.answering.stream import SyllableStream
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError

BUDGET_CHARS = 6_000
MAX_NEW_TOKENS = 512
CONNECT_S, READ_S = 5.0, 60.0
_ERRORS = (OpenAIError, AttributeError, TypeError, ValueError)
"""The client's own, and those it runs into where a server answers something else than this protocol."""


class Endpoint:
    """Streams chat completions of one model; the key comes from OPENAI_API_KEY where the server asks for one."""

    def __init__(self, url: str, model: str | None = None) -> None:
        """model: its name at the endpoint; without one, the first that the endpoint lists.

        Raises KoreanLLMError where the address is none or the endpoint cannot be reached.
        """
        if not url.startswith(("http://", "https://")):
            raise KoreanLLMError(
                f"--endpoint {url!r} is no address; expected a base URL such as http://127.0.0.1:8000/v1."
            )
        self.url, self.budget = url, BUDGET_CHARS
        self._client = OpenAI(
            base_url=url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            timeout=Timeout(READ_S, connect=CONNECT_S),
            max_retries=1,
        )
        self.model = model or self._first_model()

    def _first_model(self) -> str:
        try:
            models = list(self._client.models.list())
        except _ERRORS as error:
            raise self._out_of_reach(error) from None
        if not models:
            raise KoreanLLMError(f"the endpoint {self.url} lists no model; name one with --model.")
        return models[0].id

    def measure(self, messages: list[Message]) -> int:
        """Characters of the conversation: the endpoint's tokenizer is not at hand."""
        return sum(len(message["content"]) for message in messages)

    def generate(self, messages: list[Message]) -> Iterator[str]:
        """The answer as the endpoint streams it. Raises KoreanLLMError where it cannot be had."""
        stream = SyllableStream()
        spoken: Any = messages  # the client's type wants a dictionary type per role
        try:
            chunks = self._client.chat.completions.create(
                model=self.model,
                messages=spoken,
                stream=True,
                temperature=0,
                max_tokens=MAX_NEW_TOKENS,
            )
            with closing(chunks):
                for chunk in chunks:
                    delta = chunk.choices[0].delta.content if chunk.choices else None
                    yield stream.feed_text(delta or "")
        except _ERRORS as error:
            raise self._out_of_reach(error) from None
        if rest := stream.finish():
            yield rest

    def _out_of_reach(self, error: Exception) -> KoreanLLMError:
        if isinstance(error, APITimeoutError):
            reason = "did not answer in time"
        elif isinstance(error, APIConnectionError):
            reason = "cannot be reached"
        elif isinstance(error, APIStatusError):
            reason = f"answered with status {error.status_code} for the model {getattr(self, 'model', '?')!r}"
        elif isinstance(error, OpenAIError):
            reason = f"broke off ({error})"
        else:
            reason = "does not speak the OpenAI protocol"
        return KoreanLLMError(
            f"the endpoint {self.url} {reason}; check that its server runs and that the address ends in /v1."
        )
