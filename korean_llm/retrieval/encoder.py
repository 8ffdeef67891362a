"""A sentence-transformers encoder with its prefixes: texts → normalised vectors. Shapes: M texts, D width."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from korean_llm import console
from korean_llm.artifact import hash_file
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

_BATCH = 32
_GPU_BATCH = 256
_KEPT_QUERIES = 1_000


class Encoder:
    """Encodes questions and passages, each with the prefix that the model was trained with."""

    def __init__(self, folder: Path, query_prefix: str, passage_prefix: str, machine: Machine) -> None:
        self.model = load_encoder(folder, machine)
        self.query_prefix, self.passage_prefix = query_prefix, passage_prefix
        self._queries: dict[str, np.ndarray] = {}
        self._batch = _GPU_BATCH if self.model.device.type == "cuda" else _BATCH

    @property
    def width(self) -> int:
        """D."""
        width = self.model.get_embedding_dimension()
        assert width is not None
        return width

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """(M, D) float32; longest first, so that a batch holds texts of one length and little padding."""
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        vectors_MD = np.zeros((len(texts), self.width), dtype=np.float32)
        starts = range(0, len(order), self._batch)
        for start in console.progress(starts, "encoding passages") if len(starts) > 1 else starts:
            batch = order[start : start + self._batch]
            vectors_MD[batch] = self._encode([self.passage_prefix + texts[number] for number in batch])
        return vectors_MD

    def query(self, text: str) -> np.ndarray:
        """(D,) float32; the last questions are kept, for one is often asked by several parts of an answer."""
        found = self._queries.get(text)
        if found is None:
            found = self._encode([self.query_prefix + text])[0]
            if len(self._queries) >= _KEPT_QUERIES:
                self._queries.clear()
            self._queries[text] = found
        return found

    def _encode(self, texts: list[str]) -> np.ndarray:
        found = self.model.encode(
            texts, batch_size=self._batch, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(found, dtype=np.float32)


def check_encoder(folder: Path) -> None:
    """Raises KoreanLLMError where a folder is no sentence-transformers model."""
    if not (folder / "modules.json").is_file():
        raise KoreanLLMError(
            f"the encoder folder {folder} holds no modules.json; give a folder saved by sentence-transformers,"
            " or no encoder to search by words only."
        )


def load_encoder(folder: Path, machine: Machine) -> SentenceTransformer:
    """Open a sentence-transformers folder; local files and safetensors only, no remote code.

    A GPU is tried with one short text first; where its kernels fail, the CPU takes over and a note says why.
    Raises KoreanLLMError where the folder is no encoder.
    """
    check_encoder(folder)
    device = machine.torch_device()
    try:
        model = _load(folder, device)
        if device.type == "cuda":
            model.encode(["probe"], show_progress_bar=False)
        return model
    except (RuntimeError, torch.AcceleratorError) as error:
        if device.type != "cuda" or machine.device == "cuda":
            raise
        reason = " ".join(str(error).split())[:120]
        console.note(f"the encoder runs on the CPU: the GPU failed on a first text ({reason})")
        return _load(folder, torch.device("cpu"))


def _load(folder: Path, device: torch.device) -> SentenceTransformer:
    return SentenceTransformer(
        str(folder),
        device=str(device),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )


def copy_encoder(source: Path, folder: Path) -> str:
    """Copy an encoder into an index folder, unless it is there; returns its name, which its content decides."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    content = "".join(f"{path.relative_to(source).as_posix()} {hash_file(path)}\n" for path in files)
    name = f"encoder-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if not (folder / name).exists():
        aside = folder / f"{name}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside)
        aside.rename(folder / name)
    return name
