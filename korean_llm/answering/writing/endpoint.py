"""A language model behind an OpenAI-compatible endpoint: vLLM, llama.cpp's server, Ollama and others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    DefaultHttpxClient,
    OpenAI,
    OpenAIError,
    Timeout,
)

from korean_llm.answering.answer import Sampling
from korean_llm.answering.writing.endpoint_address import check_endpoint, check_host
from korean_llm.answering.writing.fingerprint import endpoint_fingerprint
from korean_llm.answering.writing.generate import GREEDY, checked_sampling
from korean_llm.answering.writing.slow_source import read_apart
from korean_llm.answering.writing.stream import AnswerStream
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError

BUDGET_CHARS = 6_000
MAX_BUDGET_CHARS = 24_000
MAX_NEW_TOKENS = 512
MAX_STOPS = 4
"""Servers take no more; ours are looked for here besides."""

BUSY = (429, 503)
_ERRORS = (OpenAIError, AttributeError, TypeError, ValueError)
"""The client's own, and those it runs into where a server answers something else than this protocol."""

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for an endpoint.

    Attributes:
        connect_s, read_s: for a connection, and for the next piece of an answer.
        total_s: for a whole answer.
        retries: times that a busy (429, 503) or absent server is asked again, before it has said anything.
        backoff_s: wait before the first of them, twice as long before each further one, or as the server says.
    """

    connect_s: float = 5.0
    read_s: float = 60.0
    total_s: float = 300.0
    retries: int = 3
    backoff_s: float = 0.5
    max_backoff_s: float = 10.0


class Endpoint:
    """Streams chat completions of one model; the key comes from OPENAI_API_KEY where the server asks for one.

    Redirects and the environment's proxies are not followed: the question and the key go to this address alone.
    """

    adapter_fingerprint = ""

    def __init__(self, url: str, model: str | None = None, patience: Patience | None = None) -> None:
        """model: its name at the endpoint; without one, the first that the endpoint lists.

        Raises KoreanLLMError where the address is none that is allowed, or the endpoint cannot be reached.
        """
        self.url, self.patience = check_endpoint(url), patience or Patience()
        wait = Timeout(self.patience.read_s, connect=self.patience.connect_s)
        self._client = OpenAI(
            base_url=self.url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=0,
            http_client=DefaultHttpxClient(
                timeout=wait, trust_env=False, follow_redirects=False, event_hooks={"request": [_check_request]}
            ),
        )
        listed = self._listed(needed=model is None)
        self.model = model or next(iter(listed))
        self.name, self.fingerprint = self.model, endpoint_fingerprint(self.url, self.model)
        context = listed.get(self.model)
        self.max_new_tokens = min(MAX_NEW_TOKENS, context // 2) if context else MAX_NEW_TOKENS
        self.budget = min(context - self.max_new_tokens, MAX_BUDGET_CHARS) if context else BUDGET_CHARS

    def _listed(self, *, needed: bool) -> dict[str, int | None]:
        """The endpoint's models, each with its context in tokens where it is told."""
        try:
            found = {str(model.id): _context(model) for model in self._client.models.list()}
        except _ERRORS as error:
            if not needed:
                return {}
            raise self._out_of_reach(error) from None
        if needed and not found:
            raise KoreanLLMError(f"the endpoint {self.url} lists no model; name one with --model.")
        return found

    def measure(self, messages: list[Message]) -> int:
        """Characters of the conversation: the endpoint's tokenizer is not at hand, and a token is rarely less."""
        return sum(len(message["content"]) for message in messages)

    def generate(
        self, messages: list[Message], sampling: Sampling = GREEDY, stop: Event | None = None
    ) -> Iterator[str]:
        """The answer as the endpoint streams it. Stopped, it ends at once and the connection is closed.

        Raises KoreanLLMError where it cannot be had.
        """
        stream = AnswerStream(checked_sampling(sampling).stop)
        asked = self._asked(messages, sampling)
        try:
            with closing(read_apart(lambda left: self._texts(asked, left), stop, self.patience.total_s)) as texts:
                for text in texts:
                    yield stream.feed_text(text)
                    if stream.ended:
                        return
        except (*_ERRORS, TimeoutError) as error:
            raise self._out_of_reach(error) from None
        if rest := stream.finish():
            yield rest

    def _asked(self, messages: list[Message], sampling: Sampling) -> dict[str, Any]:
        """The request. What servers do not need is left out, since some know less of the protocol."""
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "stream": True,
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_new_tokens or self.max_new_tokens,
        }
        if sampling.temperature > 0:
            asked |= {"top_p": sampling.top_p, "seed": sampling.seed}
        if stops := [stop for stop in sampling.stop if stop][:MAX_STOPS]:
            asked["stop"] = stops
        return asked

    def _texts(self, asked: dict[str, Any], left: Event) -> Iterator[str]:
        with closing(self._patiently(lambda: self._client.chat.completions.create(**asked), left)) as chunks:
            for chunk in chunks:
                yield (chunk.choices[0].delta.content if chunk.choices else None) or ""

    def _patiently(self, call: Callable[[], T], left: Event) -> T:
        """What a call gives, asked again where the server is busy or not there, unless everybody has left."""
        for number in range(self.patience.retries):
            try:
                return call()
            except (APIStatusError, APIConnectionError) as error:
                if not _worth_retrying(error) or left.wait(self._backoff(error, number)):
                    raise
        return call()

    def _backoff(self, error: Exception, number: int) -> float:
        """Seconds to wait: as the server says, else doubled each time."""
        told = error.response.headers.get("retry-after", "") if isinstance(error, APIStatusError) else ""
        own = self.patience.backoff_s * 2**number
        return min(float(told) if told.isdecimal() else own, self.patience.max_backoff_s)

    def _out_of_reach(self, error: Exception) -> KoreanLLMError:
        """One sentence; never the server's own words, which may repeat the key."""
        if isinstance(error, APITimeoutError):
            reason = "did not answer in time"
        elif isinstance(error, TimeoutError):
            reason = f"did not finish its answer within {self.patience.total_s:g} s"
        elif isinstance(error, APIConnectionError):
            reason = "cannot be reached or broke off its answer"
        elif isinstance(error, APIStatusError):
            reason = f"{_said(error.status_code)} for the model {getattr(self, 'model', '?')!r}"
        elif isinstance(error, OpenAIError):
            reason = "broke off its answer with an error"
        else:
            reason = "does not speak the OpenAI protocol"
        return KoreanLLMError(
            f"the endpoint {self.url} {reason}; check that its server runs and that the address ends in /v1."
        )


def _check_request(request: Any) -> None:
    """Names are looked up before every request: what they lead to may change."""
    check_host(request.url.host)


def _context(model: Any) -> int | None:
    """Tokens of a model's context as vLLM (max_model_len), llama.cpp (meta.n_ctx) and others list it."""
    meta = getattr(model, "meta", None)
    told = [getattr(model, name, None) for name in ("max_model_len", "context_length")]
    told.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((value for value in told if isinstance(value, int) and value > 1), None)


def _worth_retrying(error: Exception) -> bool:
    if isinstance(error, APIStatusError):
        return error.status_code in BUSY
    return not isinstance(error, APITimeoutError)


def _said(status: int) -> str:
    if status in BUSY:
        return f"is too busy (status {status})"
    if status in (401, 403):
        return f"refused the key in OPENAI_API_KEY (status {status})"
    if 300 <= status < 400:
        return f"redirects elsewhere (status {status}), which is not followed,"
    return f"answered with status {status}"
