"""Citations: made only where their text is exactly the document's; marks that nothing supports are removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from korean_llm.answering.answer import Citation, Piece
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import Hit

_MARK = re.compile(r"[^\S\n]*\[\s*(\d{1,4}(?:\s*,\s*\d{1,4})*)\s*\]")
_UNFINISHED = re.compile(r"[^\S\n]*(?:\[[\d\s,]{0,40})?\Z")
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+")
_LETTER = re.compile(r"\w")


def verified(index: Index, number: int, document_id: str, start: int, end: int, text: str) -> Citation | None:
    """A citation, or None where the document is not in the index or its text[start:end] is not exactly `text`."""
    document = index.document(document_id)
    inside = document is not None and 0 <= start < end <= len(document.text)
    if document is None or not inside or document.text[start:end] != text:
        return None
    return Citation(number, document_id, document.title, start, end, text, document.page_at(start))


def passage_citations(index: Index, hits: list[Hit]) -> list[Citation]:
    """The hits as citations of whole passages, numbered from 1 by their place; what fails the check is left out."""
    found = (verified(index, n, hit.document_id, hit.start, hit.end, hit.text) for n, hit in enumerate(hits, start=1))
    return [citation for citation in found if citation is not None]


def nearest_documents(index: Index, hits: list[Hit], count: int) -> tuple[Citation, ...]:
    """The best passage of each of the first `count` documents, numbered from 1."""
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.document_id, hit)
    return tuple(passage_citations(index, list(first.values())[:count]))


def without_marks(text: str) -> str:
    """The text without marks of its own, such as the footnote numbers of an encyclopedia."""
    return _MARK.sub("", text)


class Marks:
    """Turns "[2]" in a stream of text into citations of what the claim before it rests on, numbered by appearance.

    A mark whose claim nothing supports is dropped. The end of the text is held back while it may still become a mark,
    so that no piece shows half of one.
    """

    def __init__(self, cite: Callable[[str, int], Citation | None]) -> None:
        """cite: (claim, number as the writer of the text knows it) → verified citation, or None."""
        self._cite = cite
        self._shown: dict[tuple[str, int, int], Citation] = {}
        self._held = ""
        self._said = ""
        self._claim = ""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """What has been cited so far, by number."""
        return tuple(self._shown.values())

    def feed(self, text: str) -> Iterator[Piece]:
        """The pieces that can be shown after this text."""
        text = self._held + text
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished else len(text)
        text, self._held = text[:cut], text[cut:]
        yield from self._pieces(text)

    def finish(self) -> Iterator[Piece]:
        """What is held back when the text ends; outer space is dropped."""
        text, self._held = self._held.rstrip(), ""
        yield from self._pieces(text)

    def _pieces(self, text: str) -> Iterator[Piece]:
        at = 0
        for match in _MARK.finditer(text):
            yield from self._plain(text[at : match.start()])
            yield from self._marks(match[1])
            at = match.end()
        yield from self._plain(text[at:])

    def _plain(self, text: str) -> Iterator[Piece]:
        self._said += text
        if text:
            yield Piece(text)

    def _marks(self, numbers: str) -> Iterator[Piece]:
        if said := _last_sentence(self._said):
            self._claim = said
        self._said = ""
        for number in dict.fromkeys(int(part) for part in numbers.split(",")):
            if (found := self._cite(self._claim, number)) is not None:
                citation = self._numbered(found)
                yield Piece(" ")
                yield Piece(f"[{citation.number}]", citation)

    def _numbered(self, found: Citation) -> Citation:
        place = found.document_id, found.start, found.end
        if place not in self._shown:
            self._shown[place] = replace(found, number=len(self._shown) + 1)
        return self._shown[place]


def _last_sentence(text: str) -> str:
    """The last sentence of what was said since the last mark; "" where no letter was."""
    return next((part for part in reversed(_SENTENCE_END.split(text)) if _LETTER.search(part)), "")
