"""Which base an adapter was trained on: recorded beside the adapter, and known again by the weights themselves.

A base is known by a print of its weights, not by its name: names are given anew, files are sharded anew, and a
model before and after pretraining has the same shapes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from korean_llm.errors import KoreanLLMError

BASE = "base.json"
"""Beside an adapter: the base it was trained on."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_SNAPSHOT = re.compile(r"/models--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{12})[0-9a-f]{28}$")
_SAMPLES, _SAMPLE_BYTES = 64, 64


@dataclass(frozen=True)
class Base:
    """The base of an adapter.

    Attributes:
        hub, revision: where it is published; revision is a commit.
        vocabulary: rows of its embedding table.
        weights: its weights' print.
    """

    hub: str
    revision: str | None
    vocabulary: int
    weights: str

    def as_dict(self) -> dict[str, Any]:
        """For base.json."""
        return asdict(self)


def shown(folder: Path) -> str:
    """A folder as people know it: org/name@commit for one in the Hub's cache, else its path."""
    found = _SNAPSHOT.search(folder.as_posix())
    return f"{found[1]}/{found[2]}@{found[3]}" if found else str(folder)


def read_base(adapter: Path) -> Base | None:
    """What is recorded beside an adapter, None where nothing is. Raises KoreanLLMError where it is damaged."""
    value = read_json(adapter / BASE)
    if value is None:
        return None
    try:
        if not (isinstance(value["vocabulary"], int) and isinstance(value["hub"], str)):
            raise TypeError
        return Base(**value)
    except (TypeError, KeyError):
        raise KoreanLLMError(f"{adapter / BASE} is damaged; fetch the adapter again, or publish it again.") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, None where there is no file. Raises KoreanLLMError where it is no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise KoreanLLMError(f"{path} is damaged (no JSON object); fetch it again, or save the adapter again.")
    return value


def weights_print(folder: Path) -> str:
    """SHA-256 over every tensor's name, format, shape and 64 samples of 64 bytes, evenly spread.

    The same for one file and for shards; reads a few MB of a 15 GB model. Raises KoreanLLMError for a damaged file.
    """
    parts = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb", buffering=0) as file:
                parts.update(_tensor_prints(file))
        except (OSError, ValueError, KeyError, TypeError):
            raise KoreanLLMError(f"{path} is no whole safetensors file; fetch it again.") from None
    text = json.dumps(sorted(parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _tensor_prints(file: FileIO) -> dict[str, str]:
    """Print of each tensor of one safetensors file: 8 bytes of header length, the header as JSON, the data."""
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        found[name] = _sampled(file, [entry["dtype"], entry["shape"]], start, end)
    return found


def _sampled(file: FileIO, what: list[Any], start: int, end: int) -> str:
    state = hashlib.sha256(json.dumps(what).encode())
    last = max(start, end - _SAMPLE_BYTES)
    for place in sorted({start + (last - start) * number // (_SAMPLES - 1) for number in range(_SAMPLES)}):
        file.seek(place)
        part = file.read(min(_SAMPLE_BYTES, end - place))
        if len(part) < min(_SAMPLE_BYTES, end - place):
            raise ValueError("the file ends early")
        state.update(part)
    return state.hexdigest()
