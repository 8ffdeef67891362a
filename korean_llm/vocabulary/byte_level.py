"""Byte-level BPE: each byte is one printable character of an entry (Radford et al. 2019, GPT-2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from korean_llm.hangul import HANGUL
from korean_llm.vocabulary.family import Encode, Family
from korean_llm.vocabulary.learn import Merge

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]


def _alphabet() -> dict[str, int]:
    """Character → byte: printable Latin-1 stands for itself, U+0100 and up for the other 68, in order."""
    others = sorted(set(range(256)) - set(_PRINTABLE))
    return {chr(byte): byte for byte in _PRINTABLE} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE = _alphabet()
_CHARACTER = {byte: character for character, byte in _BYTE.items()}


def piece_bytes(piece: str) -> bytes:
    """The bytes an entry stands for. Raises KeyError where it is not written in the byte-level alphabet."""
    return bytes(_BYTE[character] for character in piece)


def bytes_piece(raw: bytes) -> str:
    """The entry that stands for these bytes."""
    return raw.decode("latin-1").translate(_CHARACTER)


def is_byte_level(state: dict[str, Any]) -> bool:
    """Whether a tokenizer.json cuts and decodes by ByteLevel."""
    return _uses_bytes(state["pre_tokenizer"]) and _uses_bytes(state["decoder"])


def _uses_bytes(step: dict[str, Any] | None) -> bool:
    """Whether a pre-tokenizer or decoder of tokenizer.json is ByteLevel or a sequence that holds it."""
    if step is None:
        return False
    parts = step.get("pretokenizers", []) + step.get("decoders", [])
    return step["type"] == "ByteLevel" or any(map(_uses_bytes, parts))


class ByteLevel(Family):
    """SmolLM2, OLMo-2, Llama-3, Qwen."""

    name = "byte-level BPE"
    run = re.compile(f" ?[{HANGUL}]+")
    any_split = False

    def entry_bytes(self, entry: str) -> bytes | None:
        """The bytes an entry stands for; None where it is not in the byte-level alphabet."""
        return piece_bytes(entry) if _BYTE.keys() >= set(entry) else None

    def entry(self, raw: bytes) -> str:
        """The entry that stands for these bytes."""
        return bytes_piece(raw)

    def joins(self, merges: Sequence[Merge], entries: dict[int, str]) -> list[list[str]]:
        """One pair for every new token."""
        return [[entries[part] for part in merge.parts] for merge in merges]

    def save_twin(self, merges: Sequence[Merge], num_rows: int, base: Path, out: Path) -> None:
        """Nothing: tokenizer.json is the only file of this family that is read."""

    def twin(self, folder: Path) -> Encode | None:
        """None: tokenizer.json is the only file of this family that is read."""
        return None
