"""Marks of models by which a kept answer or a piece of feedback is known to be of the same one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from korean_llm.artifact import digest, load_manifest

_WHOLE_BYTES = 64 << 20
_SAMPLES, _SAMPLE_BYTES = 256, 4_096


def model_fingerprint(folder: Path, *, four_bit: bool = False) -> str:
    """SHA-256 of a checkpoint or adapter folder and of how its weights are held.

    A folder inside an artifact has its manifest's. Of another one every file counts: in full up to 64 MiB, a larger
    one by its size and 256 samples of 4 KiB, evenly spread, so that 15 GB take no longer than a moment.
    """
    manifest = load_manifest(folder.parent)
    files = {} if manifest else {path.name: _mark(path) for path in sorted(folder.iterdir()) if path.is_file()}
    return digest([manifest.fingerprint if manifest else files, four_bit])


def endpoint_fingerprint(url: str, model: str) -> str:
    """SHA-256 of an endpoint's address and its model's name: a server tells no more of its weights."""
    return digest([url, model])


def _mark(path: Path) -> list[Any]:
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return [size, hashlib.sha256(path.read_bytes()).hexdigest()]
    sha = hashlib.sha256()
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            sha.update(file.read(_SAMPLE_BYTES))
    return [size, sha.hexdigest()]
