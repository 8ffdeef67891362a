"""Structure of plain text and Markdown: the text stays as it is, blocks point into it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from korean_llm.documents.document import MAX_TITLE_CHARS, Block, Body

_GAP = re.compile(r"\n[^\S\n]*\n\s*")
# Statutes and books of rules: 제1편, 제2장 총칙, 제3절의2
_HEADING = re.compile(r"제\s?\d{1,3}\s?([편장절관])(?:의\s?\d{1,2})?(?:\s+\S.{0,60})?")
_LEVELS = {"편": 1, "장": 2, "절": 3, "관": 4}


def text_body(text: str) -> Body:
    """Plain text: paragraphs between empty lines; lines such as "제2장 총칙" are headings. The title is line one."""
    blocks = tuple(block for start, end in _paragraphs(text) for block in _lines(text, start, end))
    first = text.lstrip().split("\n", 1)[0].strip()
    return Body(text, blocks, title=first[:MAX_TITLE_CHARS])


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for gap in _GAP.finditer(text):
        yield at, gap.start()
        at = gap.end()
    yield at, len(text)


def _lines(text: str, start: int, end: int) -> Iterator[Block]:
    """The paragraph as one block, but for headings at its lines."""
    begin = at = start
    while at < end:
        stop = text.find("\n", at, end)
        stop = end if stop < 0 else stop
        found = _HEADING.fullmatch(text[at:stop].strip()) if stop - at < 100 else None
        if found:
            yield from _stripped(text, begin, at)
            yield from _stripped(text, at, stop, _LEVELS[found[1]])
            begin = stop
        at = stop + 1
    yield from _stripped(text, begin, end)


def _stripped(text: str, start: int, end: int, level: int = 0) -> Iterator[Block]:
    """The block without white space at its ends, none where nothing is left."""
    part = text[start:end]
    left = len(part) - len(part.lstrip())
    if left < len(part):
        yield Block(start + left, start + len(part.rstrip()), "heading" if level else "paragraph", level)


def markdown_body(text: str) -> Body:
    """Markdown (CommonMark and tables): headings, paragraphs, list items, code and table rows by their lines."""
    parser = MarkdownIt("commonmark").enable("table").disable(["inline", "reference"])
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    blocks: list[Block] = []
    at_line = 0
    for first, last, role, level in _line_blocks(parser.parse(text)):
        if first > at_line:  # what the parser makes no block of, such as link targets
            blocks += _stripped(text, starts[at_line], starts[first] - 1)
        start, end = starts[max(first, at_line)], min(starts[min(last, len(starts) - 1)] - 1, len(text))
        found = list(_stripped(text, start, end, level))
        blocks += [Block(block.start, block.end, "row") for block in found] if role == "row" else found
        at_line = max(at_line, last)
    if at_line < len(starts) - 1:
        blocks += _stripped(text, starts[at_line], len(text))
    return Body(text, tuple(blocks), title=_title(text, blocks))


def _line_blocks(tokens: list[Token]) -> Iterator[tuple[int, int, str, int]]:
    """(first line, line behind the last, role, heading level) of the innermost blocks."""
    for token in tokens:
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "heading_open":
            yield first, last, "heading", int(token.tag[1])
        elif token.type == "tr_open":
            yield first, last, "row", 0
        elif token.type in ("paragraph_open", "fence", "code_block", "html_block"):
            yield first, last, "paragraph", 0


def _title(text: str, blocks: list[Block]) -> str:
    heading = next((text[block.start : block.end] for block in blocks if block.role == "heading"), "")
    return re.sub(r"^#+\s*|\s*#+$|\n[=-]+\s*$", "", heading)[:MAX_TITLE_CHARS]
