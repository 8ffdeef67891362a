"""Cut a document into passages along its structure and its sentences, with exact spans, under their sections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unicodedata import combining

from korean_llm.documents.document import Block, Document
from korean_llm.documents.sentences import sentence_spans, trimmed

PARENT_PASSAGES = 4
"""A section longer than that many passages is parted into several of the same title."""


@dataclass(frozen=True)
class Section:
    """A parent: characters start … end of the text, its heading included; title is the path of headings to it."""

    title: str
    start: int
    end: int


@dataclass(frozen=True)
class Passage:
    """Characters start … end of the text, and the section they stand in."""

    start: int
    end: int
    section: Section


@dataclass(frozen=True)
class _Unit:
    """What is not cut: a sentence, a table row, a short paragraph. It ends a paragraph, or not."""

    start: int
    end: int
    closes: bool


def split(document: Document, passage_chars: int) -> list[Passage]:
    """Passages of at most passage_chars characters that hold all visible text but headings, once and in order.

    A sentence or table row is cut only where it is longer than that, at white space if there is any. Headings
    stand in the title of their section; a heading under which nothing stands is a passage itself.
    """
    text = document.text
    if not text.strip():
        return []
    blocks = list(document.blocks) or [Block(*trimmed(text, 0, len(text)), "paragraph")]
    found: list[Passage] = []
    for title, headings, inside in _sections(text, blocks):
        spans = list(_packed(text, inside or headings, passage_chars))
        begin = headings[0].start if headings else spans[0][0] if spans else 0
        found += _with_parents(title, begin, spans, PARENT_PASSAGES * passage_chars)
    return found


def _sections(text: str, blocks: list[Block]) -> Iterator[tuple[str, list[Block], list[Block]]]:
    """(title, headings, the blocks under them) of every section; headings over headings share the next one's body."""
    path: list[Block] = []
    headings: list[Block] = []
    inside: list[Block] = []
    for block in blocks:
        if block.role != "heading":
            inside.append(block)
            continue
        is_deeper = bool(headings) and block.level > headings[-1].level
        if inside or (headings and not is_deeper):
            yield _title(text, path), headings, inside
            headings, inside = [], []
        path = [*(over for over in path if over.level < block.level), block]
        headings.append(block)
    if headings or inside:
        yield _title(text, path), headings, inside


def _title(text: str, path: list[Block]) -> str:
    names = (text[block.start : block.end].strip("#= \n\t-") for block in path)
    return " > ".join(" ".join(name.split()) for name in names)


def _packed(text: str, blocks: list[Block], limit: int) -> Iterator[tuple[int, int]]:
    """Spans of whole units, as many as fit; a paragraph's end closes a span that is half full."""
    start: int | None = None
    end = 0
    for unit in _units(text, blocks, limit):
        if start is not None and unit.end - start > limit:
            yield start, end
            start = None
        start = unit.start if start is None else start
        end = unit.end
        if unit.closes and end - start >= limit // 2:
            yield start, end
            start = None
    if start is not None:
        yield start, end


def _units(text: str, blocks: list[Block], limit: int) -> Iterator[_Unit]:
    """A block that fits is a unit, rows always are one; only of the others the sentences are looked for, as Kiwi
    takes most of the time."""
    for number, block in enumerate(blocks):
        is_last_row = block.role == "row" and (number + 1 == len(blocks) or blocks[number + 1].role != "row")
        closes = block.role != "row" or is_last_row
        if block.end - block.start <= limit:
            yield _Unit(block.start, block.end, closes)
            continue
        spans = [(block.start, block.end)] if block.role == "row" else sentence_spans(text, block.start, block.end)
        pieces = [piece for start, end in spans for piece in _cut(text, start, end, limit)]
        for last, (start, end) in enumerate(pieces, start=1):
            yield _Unit(start, end, closes and last == len(pieces))


def _cut(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """The span in parts of at most `limit` characters, cut at white space in their latter half if there is any."""
    while end - start > limit:
        places = (text.rfind(space, start + limit // 2, start + limit) for space in "\n \t")
        stop = next((place for place in places if place > 0), start + limit)
        if stop == start + limit and _joins(text[stop]):
            stop -= 1
        yield trimmed(text, start, stop)
        start = trimmed(text, stop, end)[0]
    if start < end:
        yield start, end


def _joins(character: str) -> bool:
    """Whether a character belongs to the one before: a combining mark, a joiner, a variation selector."""
    return bool(combining(character)) or character in "\u200d\ufe0e\ufe0f"


def _with_parents(title: str, begin: int, spans: list[tuple[int, int]], limit: int) -> Iterator[Passage]:
    """Passages under sections of at most `limit` characters; the first section begins where its heading does."""
    group: list[tuple[int, int]] = []
    for span in spans:
        if group and span[1] - min(begin, group[0][0]) > limit:
            yield from _under(title, begin, group)
            group, begin = [], span[0]
        group.append(span)
    yield from _under(title, begin, group)


def _under(title: str, begin: int, group: list[tuple[int, int]]) -> Iterator[Passage]:
    if group:
        section = Section(title, min(begin, group[0][0]), group[-1][1])
        yield from (Passage(start, end, section) for start, end in group)
