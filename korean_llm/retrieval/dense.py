"""Dense vectors of passages by a sentence-transformers encoder, searched exactly with FAISS.

Shapes: N passages, D width of a vector.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from sentence_transformers import SentenceTransformer

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

VECTORS = "vectors.faiss"
ENCODER = "encoder"
_BATCH = 32


class Dense:
    """An encoder with its prefixes and the passages' normalised vectors; scores are cosines."""

    def __init__(
        self, encoder: SentenceTransformer, vectors: faiss.Index, query_prefix: str, passage_prefix: str
    ) -> None:
        self.encoder, self.vectors = encoder, vectors
        self.query_prefix, self.passage_prefix = query_prefix, passage_prefix

    @classmethod
    def build(
        cls, texts: Sequence[str], encoder_folder: Path, query_prefix: str, passage_prefix: str, machine: Machine
    ) -> Dense:
        """Encode the texts, longest first so that a batch holds texts of one length, and index them flat."""
        encoder = load_encoder(encoder_folder, machine)
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        vectors_ND = np.zeros((len(texts), _width(encoder)), dtype=np.float32)
        starts = range(0, len(order), _BATCH)
        for start in console.progress(starts, "encoding passages"):
            batch = order[start : start + _BATCH]
            vectors_ND[batch] = _encode(encoder, [passage_prefix + texts[number] for number in batch])
        index = faiss.IndexFlatIP(vectors_ND.shape[1])
        index.add(vectors_ND)
        return cls(encoder, index, query_prefix, passage_prefix)

    def save(self, folder: Path, encoder_folder: Path) -> None:
        """Write the vectors and a copy of the encoder beside them, so that the folder needs nothing else."""
        faiss.write_index(self.vectors, str(folder / VECTORS))
        shutil.copytree(encoder_folder, folder / ENCODER, dirs_exist_ok=True)

    @classmethod
    def open(cls, folder: Path, query_prefix: str, passage_prefix: str, machine: Machine) -> Dense:
        """Open an index folder; nothing outside it is needed."""
        vectors = faiss.read_index(str(folder / VECTORS))
        return cls(load_encoder(folder / ENCODER, machine), vectors, query_prefix, passage_prefix)

    def scores(self, query: str) -> np.ndarray:
        """Cosines of all passages with the query, shape (N,)."""
        vectors_1D = _encode(self.encoder, [self.query_prefix + query])
        cosines, numbers = self.vectors.search(vectors_1D, self.vectors.ntotal)
        scores = np.zeros(self.vectors.ntotal)
        scores[numbers[0]] = cosines[0]
        return scores


def check_encoder(folder: Path) -> None:
    """Raises KoreanLLMError where a folder is no sentence-transformers model."""
    if not (folder / "modules.json").is_file():
        raise KoreanLLMError(
            f"the encoder folder {folder} holds no modules.json; give a folder saved by sentence-transformers,"
            " or no encoder to search by words only."
        )


def load_encoder(folder: Path, machine: Machine) -> SentenceTransformer:
    """Open a sentence-transformers folder; local files and safetensors only, no remote code.

    Raises KoreanLLMError where it is none.
    """
    check_encoder(folder)
    return SentenceTransformer(
        str(folder),
        device=str(machine.torch_device()),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )


def _width(encoder: SentenceTransformer) -> int:
    width = encoder.get_embedding_dimension()
    assert width is not None
    return width


def _encode(encoder: SentenceTransformer, texts: list[str]) -> np.ndarray:
    vectors_ND = encoder.encode(texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors_ND, dtype=np.float32)
