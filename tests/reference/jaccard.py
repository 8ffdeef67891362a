"""Near duplicates by comparing all pairs, slow and obvious."""

from __future__ import annotations


def jaccard(one: str, other: str, size: int = 5) -> float:
    """Shared runs of `size` characters over all runs of either text, white space left out."""
    first, second = _runs(one, size), _runs(other, size)
    return len(first & second) / len(first | second)


def _runs(text: str, size: int) -> set[str]:
    dense = "".join(text.split())
    runs = set()
    for start in range(len(dense)):
        if start + size <= len(dense):
            runs.add(dense[start : start + size])
    return runs or {dense}
