"""Cut documents into passages along paragraphs and sentences, with exact character spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from korean_llm.kiwi import sentences

_PARAGRAPH = re.compile(r"\S(?:.*?\S)??(?=\s*\n\s*\n|\s*\Z)", re.DOTALL)
_MAX_SENTENCE_CHARS = 2_000
_SURE_END = re.compile(r"[^\W\d_]{2}[.!?][\"'”’)\]」』]*(?=\s)")
"""A mark after two letters and before a space ends a sentence; Kiwi is asked where there is none for long."""
_LINE_END = re.compile(r"\n")
_MAX_SURE_CHARS = 600


@dataclass(frozen=True)
class Passage:
    """Characters start … end of document number `document`."""

    document: int
    start: int
    end: int


def passages(document: int, text: str, target_chars: int) -> Iterator[Passage]:
    """Passages of about target_chars, made of whole sentences; document.text[start:end] is the passage.

    A passage ends where the next sentence would make it longer than the target, and at a paragraph's end once it
    holds half the target.
    """
    start: int | None = None
    end = 0
    for unit_start, unit_end, closes_paragraph in _units(text):
        if start is not None and unit_end - start > target_chars:
            yield Passage(document, start, end)
            start = None
        start = unit_start if start is None else start
        end = unit_end
        if closes_paragraph and end - start >= target_chars // 2:
            yield Passage(document, start, end)
            start = None
    if start is not None:
        yield Passage(document, start, end)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every sentence of a paragraph. Short pieces between sure ends count as one sentence.

    A long piece is taken line by line, as tables and lists are written, and Kiwi divides a long line.
    """
    for start, end in _between(text, 0, len(text), _SURE_END):
        lines = [(start, end)] if end - start <= _MAX_SURE_CHARS else _between(text, start, end, _LINE_END)
        for first, last in lines:
            if last - first <= _MAX_SURE_CHARS:
                yield first, last
            else:
                yield from ((first + low, first + high) for low, high in sentences(text[first:last]))


def _between(text: str, start: int, end: int, border: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """The pieces of text[start:end] that end with a border, without white space around them."""
    ends = [match.end() for match in border.finditer(text, start, end)]
    for first, last in pairwise([start, *ends, end]):
        piece = text[first:last]
        if piece.strip():
            yield first + len(piece) - len(piece.lstrip()), first + len(piece.rstrip())


def _units(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether a paragraph ends here) of every sentence, cut where one is absurdly long."""
    for paragraph in _PARAGRAPH.finditer(text):
        spans = [
            (paragraph.start() + start + at, paragraph.start() + min(start + at + _MAX_SENTENCE_CHARS, end))
            for start, end in _sentences(paragraph[0])
            for at in range(0, end - start, _MAX_SENTENCE_CHARS)
        ]
        for number, (start, end) in enumerate(spans, start=1):
            yield start, end, number == len(spans)
