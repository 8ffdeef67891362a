"""Which engine runs the language model: vLLM on a GPU, llama.cpp on a CPU, else transformers in this process.

An engine that is a server of its own listens on a free loopback port for as long as the context is open.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from korean_llm.answering.writing.places import ModelPlace, find_model
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.serving import llama_cpp, vllm

Kind = Literal["auto", "vllm", "llama.cpp", "transformers", "none"]


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        kind: which it is; "endpoint" where it is somebody else's.
        url, model: where it listens, and its model's name there; None where the model runs in this process, or none.
        num_parallel: conversations it continues at the same time.
        alive: whether it still runs.
    """

    kind: Kind | Literal["endpoint"]
    url: str | None = None
    model: str | None = None
    num_parallel: int = 1
    alive: Callable[[], bool] = lambda: True


def chosen(kind: Kind, run: Path, machine: Machine) -> Kind:
    """The engine for "auto": the fastest that is here and can open the run's model."""
    if kind != "auto":
        return kind
    place = find_model(run)
    if place is None:
        return "none"
    if machine.torch_device().type == "cuda":
        return "vllm" if shutil.which(vllm.PROGRAM) else "transformers"
    return "llama.cpp" if llama_cpp.smallest_gguf(run) and importlib.util.find_spec("xllamacpp") else "transformers"


@contextmanager
def running(kind: Kind, run: Path, name: str, machine: Machine) -> Iterator[Engine]:
    """The engine, started and ready. Raises KoreanLLMError where it is not here, or cannot open the run's model."""
    kind = chosen(kind, run, machine)
    if kind == "vllm":
        with vllm.running(_place(run), name, run / "records") as (url, alive):
            yield Engine(kind, url, name, num_parallel=32, alive=alive)
    elif kind == "llama.cpp":
        server = llama_cpp.start(_gguf(run), _place(run), machine)
        yield Engine(kind, server.url, None, num_parallel=1)
    else:
        if kind == "transformers":
            _place(run)
        yield Engine(kind)


def _place(run: Path) -> ModelPlace:
    place = find_model(run)
    if place is None:
        raise KoreanLLMError(
            f"{run} holds no finished model; serve it with --engine none, or name a server with --endpoint."
        )
    return place


def _gguf(run: Path) -> Path:
    found = llama_cpp.smallest_gguf(run)
    if found is None:
        raise KoreanLLMError(
            f"{run} holds no GGUF file for llama.cpp; add gguf-q4_k_m to export.formats of its recipe and run it again,"
            " or use --engine transformers."
        )
    return found
