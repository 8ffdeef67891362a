"""Citations: made only where their text is exactly the document's, and marks that resolve to nothing are removed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from korean_llm.answering.answer import Citation, Piece
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import Hit

_MARK = re.compile(r"[^\S\n]*\[\s*(\d{1,4}(?:\s*,\s*\d{1,4})*)\s*\]")
_UNFINISHED = re.compile(r"[^\S\n]*(?:\[[\d\s,]{0,40})?\Z")


def verified(index: Index, number: int, document_id: str, start: int, end: int, text: str) -> Citation | None:
    """A citation, or None where the document is not in the index or its text[start:end] is not exactly `text`."""
    document = index.document(document_id)
    inside = document is not None and 0 <= start < end <= len(document.text)
    if document is None or not inside or document.text[start:end] != text:
        return None
    return Citation(number, document_id, document.title, start, end, text)


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
    """Turns "[2]" in a stream of text into citations, numbered anew by first appearance.

    A number without a citation is dropped, and the mark with it where nothing is left. The end of the text is held
    back while it may still become a mark, so that no piece shows half of one.
    """

    def __init__(self, citations: dict[int, Citation]) -> None:
        """citations: number as the writer of the text knows it → verified citation."""
        self._known = citations
        self._shown: dict[int, Citation] = {}
        self._held = ""

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
            if match.start() > at:
                yield Piece(text[at : match.start()])
            yield from self._marks(match[1])
            at = match.end()
        if at < len(text):
            yield Piece(text[at:])

    def _marks(self, numbers: str) -> Iterator[Piece]:
        for number in dict.fromkeys(int(part) for part in numbers.split(",")):
            if number in self._known:
                citation = self._numbered(number)
                yield Piece(" ")
                yield Piece(f"[{citation.number}]", citation)

    def _numbered(self, number: int) -> Citation:
        if number not in self._shown:
            known = self._known[number]
            place = len(self._shown) + 1
            self._shown[number] = Citation(place, known.document_id, known.title, known.start, known.end, known.text)
        return self._shown[number]
