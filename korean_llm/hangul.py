"""Hangul as text and as UTF-8 bytes. Pure functions, no dependencies.

Blocks: Jamo U+1100–11FF, Compatibility Jamo U+3130–318F, Jamo Extended-A U+A960–A97F, Syllables U+AC00–D7AF,
Jamo Extended-B U+D7B0–D7FF (Unicode 15, chapter 18.6).
"""

from __future__ import annotations

import re

HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
"""Character ranges of all Hangul blocks, for the inside of a regular expression's [...]."""

_HANGUL_CHAR = re.compile(f"[{HANGUL}]")
_LETTER = re.compile(r"[^\W\d_]")
_HANGUL_BYTES = re.compile(rb"[\xeb-\xed]|\xea[\xb0-\xbf]|\xe3(?:\x84[\xb0-\xbf]|\x85|\x86[\x80-\x8f])|\xe1[\x84-\x87]")


def holds_hangul(text: str) -> bool:
    """Whether any character of the text is Hangul: a syllable or a letter (jamo)."""
    return _HANGUL_CHAR.search(text) is not None


def hangul_ratio(text: str) -> float:
    """Share of Hangul among the letters of a text, in [0, 1]; 0 where the text holds no letter."""
    letters = sum(1 for _ in _LETTER.finditer(text))
    return sum(1 for _ in _HANGUL_CHAR.finditer(text)) / letters if letters else 0.0


def holds_hangul_bytes(piece: bytes) -> bool:
    """Whether bytes that stand anywhere in valid UTF-8 prove that a Hangul character is there.

    The lead bytes EB, EC and ED begin nothing but Hangul; EA does only before B0–BF (before 80–AF it begins Yi,
    Vai, Cham and others), E1 only before 84–87, E3 only before 84 B0 … 86 8F. Jamo Extended-A is left out.
    """
    return _HANGUL_BYTES.search(piece) is not None


def eojeols(text: str) -> list[str]:
    """The space-separated words of a text, particles and punctuation included."""
    return text.split()
