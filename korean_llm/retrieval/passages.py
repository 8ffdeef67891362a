"""Cut documents into passages along paragraphs and sentences, with exact character spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from korean_llm.kiwi import sentences

_PARAGRAPH = re.compile(r"\S(?:.*?\S)??(?=\s*\n\s*\n|\s*\Z)", re.DOTALL)
_MAX_SENTENCE_CHARS = 2_000


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


def _units(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether a paragraph ends here) of every sentence, cut where one is absurdly long."""
    for paragraph in _PARAGRAPH.finditer(text):
        spans = [
            (paragraph.start() + start + at, paragraph.start() + min(start + at + _MAX_SENTENCE_CHARS, end))
            for start, end in sentences(paragraph[0])
            for at in range(0, end - start, _MAX_SENTENCE_CHARS)
        ]
        for number, (start, end) in enumerate(spans, start=1):
            yield start, end, number == len(spans)
