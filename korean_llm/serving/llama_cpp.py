"""llama.cpp's own server on the CPU, over a run's GGUF file: in this process, so that no orphan outlives it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from korean_llm import console
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.artifact import load_manifest
from korean_llm.errors import KoreanLLMError
from korean_llm.export.llama_cpp import bindings
from korean_llm.machine import Machine

MAX_CONTEXT_TOKENS = 8_192
"""What a conversation may hold; a model made for more would take gigabytes for it."""


@dataclass(frozen=True)
class Running:
    """The server, which lives as long as this."""

    url: str
    server: Any


def smallest_gguf(run: Path) -> Path | None:
    """The smallest GGUF file of the run's export, which is the fastest; each has passed the export's quality gate."""
    if load_manifest(run / "export") is None:
        return None
    return min((run / "export").glob("*.gguf"), key=lambda file: file.stat().st_size, default=None)


def start(file: Path, place: ModelPlace, machine: Machine) -> Running:
    """Open the file and listen on a free loopback port.

    Raises KoreanLLMError where llama.cpp is not installed or refuses the file.
    """
    xllamacpp = bindings()
    if xllamacpp is None:
        raise KoreanLLMError("--engine llama.cpp needs the package xllamacpp; `pip install xllamacpp`.")
    with console.working(f"llama.cpp opens {file.name}"):
        try:
            server = xllamacpp.Server(_parameters(xllamacpp, file, place, machine))
        except RuntimeError as error:
            raise KoreanLLMError(f"llama.cpp cannot open {file} ({error}); use --engine transformers.") from None
    return Running(f"{server.listening_address}/v1", server)


def _parameters(xllamacpp: Any, file: Path, place: ModelPlace, machine: Machine) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    context = getattr(AutoConfig.from_pretrained(place.model, local_files_only=True), "max_position_embeddings", 2_048)
    params.n_ctx = min(int(context), MAX_CONTEXT_TOKENS)
    params.n_parallel = 1
    # llama.cpp's threads wait for each other in a busy loop: one too many on a busy machine costs a factor of ten.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, machine.num_workers - 1)
    params.fit_params = params.ui = params.endpoint_slots = False
    params.cors_origins = "http://127.0.0.1"  # by default any web page may talk to it
    params.cache_ram_mib = 0
    params.verbosity = -1
    if key := os.environ.get("OPENAI_API_KEY"):
        params.api_keys = [key]  # the one that our client sends
    return params
