"""The written question pairs that the gate and the cache are tried on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

_SLOT = re.compile(r"\{(.*?)\}")
BETWEEN = "⇄"


def read_pairs(name: str) -> list[tuple[str, str]]:
    """The pairs of a file beside this one; what its lines look like stands at the top of adversarial_pairs.txt."""
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return [pair for line in lines if line.strip() and not line.startswith("#") for pair in _pairs(line.strip())]


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    if BETWEEN in line:
        a, b = (part.strip() for part in line.split(BETWEEN))
        yield a, b
        return
    slots = [slot.split("|") for slot in _SLOT.findall(line)]
    template = _SLOT.sub("{}", line)
    yield from combinations([template.format(*fillings) for fillings in zip(*slots, strict=True)], 2)
