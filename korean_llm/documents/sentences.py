"""Sentence ends within long text, by Kiwi, in stretches it can take: spans that hold every visible character."""

from __future__ import annotations

import re
from itertools import pairwise

from korean_llm import kiwi

MAX_STRETCH_CHARS = 4_000
"""Kiwi looks at that many characters at a time; longer text is parted at an end of line, of sentence, or of word."""

# Runs that kiwi.guarded would shorten, and with them move every place behind: they end a sentence here.
_SPACE, _STOP = re.compile(r"\s"), re.compile(r"[.?!。]+")
_MAX_UNSPACED_CHARS = 300
_RUN = re.compile(r"(.)\1{19,}|[0-9]{33,}", re.DOTALL)


def sentence_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """(start, end) of the sentences of text[start:end], without white space around; nothing visible is left out."""
    begins = [start]
    for at, stop in _stretches(text, start, end):
        begins += [at + first for first in _begins(text[at:stop])]
    begins = sorted({begin for begin in begins if begin < end})
    spans = (trimmed(text, begin, stop) for begin, stop in pairwise([*begins, end]))
    return [(begin, stop) for begin, stop in spans if begin < stop]


def _begins(stretch: str) -> list[int]:
    """Where sentences begin. Kiwi takes minutes for letters without end or space: there, full stops must do."""
    if len(stretch) > _MAX_UNSPACED_CHARS and not _SPACE.search(stretch):
        return [0, *(stop.end() for stop in _STOP.finditer(stretch))]
    return [start for start, _ in kiwi.sentences(stretch)]


def _stretches(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """text[start:end] in parts without long runs; what lies in runs belongs to the part before."""
    found: list[tuple[int, int]] = []
    at = start
    for run in _RUN.finditer(text, start, end):
        found += _parts(text, at, run.start())
        at = run.end()
    return found + _parts(text, at, end)


def _parts(text: str, start: int, end: int) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    while end - start > MAX_STRETCH_CHARS:
        window = text[start : start + MAX_STRETCH_CHARS]
        cut = max(window.rfind("\n"), *(window.rfind(mark) for mark in (". ", "? ", "! ")))
        cut = cut if cut > MAX_STRETCH_CHARS // 4 else window.rfind(" ")
        stop = start + (cut + 1 if cut > 0 else MAX_STRETCH_CHARS)
        parts.append((start, stop))
        start = stop
    return [*parts, (start, end)] if start < end else parts


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), max(start, start + len(part.rstrip()))
