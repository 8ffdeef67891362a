"""A GGUF file opened by llama.cpp itself, inside this process, to see that it reads what was meant."""

from __future__ import annotations

import http.client
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

_CONTEXT_TOKENS = 512
_TIMEOUT_S = 120


def bindings() -> ModuleType | None:
    """The package xllamacpp, or None where it is not installed or cannot be loaded on this machine."""
    try:
        return importlib.import_module("xllamacpp")
    except ImportError:
        return None


class LlamaCpp:
    """A loaded GGUF file. llama.cpp's server listens on a free loopback port for as long as this object lives."""

    def __init__(self, xllamacpp: ModuleType, file: Path, machine: Machine) -> None:
        """Raises KoreanLLMError where llama.cpp refuses the file."""
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = _CONTEXT_TOKENS
        params.n_parallel = 1
        # llama.cpp's threads wait for each other in a busy loop: one too many on a busy machine costs a factor of ten.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, machine.num_workers - 1)
        params.warmup = params.fit_params = params.ui = False
        params.verbosity = -1
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise KoreanLLMError(
                f"llama.cpp cannot open {file} ({error}); please report the base model and this message."
            ) from None
        self._address = urlsplit(self._server.listening_address).netloc

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text; special tokens in it are recognised, none is added."""
        tokens: list[int] = self._post("/tokenize", {"content": text, "add_special": False, "parse_special": True})[
            "tokens"
        ]
        return tokens

    def render(self, messages: list[Message]) -> str:
        """A conversation as llama.cpp's template engine renders it, up to where the assistant begins to speak."""
        return str(self._post("/apply-template", {"messages": messages})["prompt"])

    def generate(self, ids: list[int], count: int) -> dict[str, float]:
        """Generate count tokens after some token ids; returns {"tokens": …, "tokens_per_s": …}."""
        request = {"prompt": ids, "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        answer = self._server.handle_completions(request)
        if "timings" not in answer:
            raise KoreanLLMError(f"llama.cpp loads the file but does not generate: {json.dumps(answer)[:300]}")
        timings = answer["timings"]
        return {"tokens": timings["predicted_n"], "tokens_per_s": round(timings["predicted_per_second"], 1)}

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        # http.client and not urllib: a proxy set in the environment must not get between a process and itself.
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise KoreanLLMError(f"llama.cpp answers {path} with status {response.status}: {text[:300]}")
        return json.loads(text)
