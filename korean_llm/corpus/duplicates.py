"""Exact duplicates by hash, near duplicates by MinHash with locality-sensitive hashing."""

from __future__ import annotations

import hashlib
import re

from rensa import RMinHash, RMinHashLSH

_PERMUTATIONS = 128
_BANDS = 32
_SHINGLE_CHARS = 5
_SPACES = re.compile(r"\s+")


def text_hash(text: str) -> str:
    """SHA-256 of the text without white space: copies that differ in layout only are the same."""
    return hashlib.sha256(_SPACES.sub("", text).encode()).hexdigest()


def shingles(text: str) -> list[str]:
    """All runs of 5 characters of the text without white space; spacing varies too much in Korean to count."""
    dense = _SPACES.sub("", text)
    return [dense[at : at + _SHINGLE_CHARS] for at in range(max(1, len(dense) - _SHINGLE_CHARS + 1))]


class Duplicates:
    """Remembers every kept document and names the one a new document repeats.

    Near duplicates: MinHash (Broder 1997) estimates the Jaccard similarity of shingle sets; LSH (Indyk & Motwani
    1998) finds candidates without comparing all pairs. Memory grows with the number of documents, not their size.
    """

    def __init__(self, threshold: float, seed: int) -> None:
        """threshold: estimated Jaccard similarity from which a document is a near duplicate; 1 means exact only."""
        self.threshold, self.seed = threshold, seed
        self.exact: dict[str, str] = {}
        self.near = RMinHashLSH(threshold, _PERMUTATIONS, _BANDS)
        self.signatures: list[tuple[str, RMinHash]] = []

    def find(self, id: str, text: str) -> tuple[str, str] | None:
        """(reason, id of the earlier document) where the text repeats one; else None, and the text is remembered."""
        key = text_hash(text)
        if key in self.exact:
            return "duplicate", self.exact[key]
        if self.threshold < 1:
            signature = RMinHash(_PERMUTATIONS, self.seed)
            signature.update(shingles(text))
            for number in self.near.query(signature):
                other, earlier = self.signatures[number]
                if signature.jaccard(earlier) >= self.threshold:
                    return "near_duplicate", other
            self.near.insert(len(self.signatures), signature)
            self.signatures.append((id, signature))
        self.exact[key] = id
        return None
