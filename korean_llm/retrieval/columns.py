"""Arrays and strings in memory-mapped files: opening costs the same whatever their size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write each array as folder/NAME.npy."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def open_array(path: Path) -> np.ndarray:
    """Map an array, as a plain view: slicing numpy's memmap class costs microseconds. Raises ValueError on damage."""
    return np.asarray(np.load(path, mmap_mode="r"))


class Strings(Sequence[str]):
    """Strings end to end as UTF-8. bytes_B: (B,) uint8; offsets_S: (S + 1,) int64, where each one begins."""

    def __init__(self, bytes_B: np.ndarray, offsets_S: np.ndarray) -> None:
        self.bytes_B, self.offsets_S = bytes_B, offsets_S
        # memory views, because numpy takes three times as long to hand out one number
        self._view, self._offsets = memoryview(bytes_B), memoryview(offsets_S)  # type: ignore[arg-type]

    @classmethod
    def of(cls, strings: Iterable[str]) -> Strings:
        """Hold the given strings."""
        encoded = [text.encode() for text in strings]
        offsets_S = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets_S[1:])
        return cls(np.frombuffer(b"".join(encoded) + b"\n", dtype=np.uint8), offsets_S)  # an empty file maps nowhere

    @classmethod
    def open(cls, folder: Path, name: str) -> Strings:
        """Map strings that were saved."""
        return cls(open_array(folder / f"{name}.npy"), open_array(folder / f"{name}_offsets.npy"))

    def save(self, folder: Path, name: str) -> None:
        """Write two files."""
        save_arrays(folder, {name: self.bytes_B, f"{name}_offsets": self.offsets_S})

    def __len__(self) -> int:
        return len(self.offsets_S) - 1

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        return str(self._view[self._offsets[number] : self._offsets[number + 1]], "utf-8")

    def part(self, number: int, start: int, end: int) -> str:
        """Bytes start … end of a string, as text; the ends must lie between characters."""
        at = self._offsets[number]
        return str(self._view[at + start : at + end], "utf-8")

    def __iter__(self) -> Iterator[str]:
        return (self[number] for number in range(len(self)))
