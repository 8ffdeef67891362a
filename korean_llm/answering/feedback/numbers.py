"""Citation marks back to the numbers that the model's prompt gave its passages.

What a reader sees is numbered by first appearance; a model that learned those numbers would cite the wrong passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from korean_llm.answering.answer import Citation

_SHOWN = re.compile(r"([^\S\n]{0,4})\[(\d{1,4})\]")
_ASIDE = re.compile(r"\[\d{1,4}\]|\s+")
_PASSAGE = re.compile(r"^\[(\d{1,4})\] ", re.MULTILINE)


def as_prompted(text: str, citations: Sequence[Citation], asked: str) -> str:
    """The text with its marks as the prompt numbers the passages; a mark without a citation is taken out.

    asked: the message that holds the passages, each beginning a line with "[n] ".
    Raises LookupError where a cited text stands in no passage, or two passages bear the same number.
    """
    numbers = {citation.number: _passage_of(citation, asked) for citation in citations}

    def mark(match: re.Match[str]) -> str:
        number = numbers.get(int(match[2]))
        return f"{match[1]}[{number}]" if number else ""

    return _SHOWN.sub(mark, text)


def _passage_of(citation: Citation, asked: str) -> int:
    """The number of the first passage that holds the cited text."""
    marks = list(_PASSAGE.finditer(asked))
    if len({mark[1] for mark in marks}) < len(marks):
        raise LookupError("two passages bear the same number")
    cited = _bare(citation.text)
    ends = [mark.start() for mark in marks[1:]] + [len(asked)]
    for mark, end in zip(marks, ends, strict=True):
        if cited in _bare(asked[mark.end() : end]):
            return int(mark[1])
    raise LookupError(f"citation {citation.number} stands in no passage")


def _bare(text: str) -> str:
    """Without white space and footnote numbers, which a prompt may leave out."""
    return _ASIDE.sub("", text)
