"""Documents as they are given, checked, and cut into passages and small passages.

Shapes: N passages, M small passages.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.passages import passages

Span = tuple[int, int]
PageSpan = tuple[int, int, int]
"""Page number from 1, and the characters start … end that stand on it."""


@dataclass(frozen=True)
class Document:
    """A document of the index; text is NFC.

    spans: passages that its reader has cut, in characters, or none; pages: of a document that has some.
    """

    id: str
    title: str
    text: str
    spans: tuple[Span, ...] = field(default=(), compare=False)
    pages: tuple[PageSpan, ...] = field(default=(), compare=False)

    def page_at(self, place: int) -> int | None:
        """The page on which a character stands; None without pages."""
        found = [number for number, start, _ in self.pages if start <= place]
        return found[-1] if found else None


@dataclass(frozen=True)
class Cut:
    """The passages of some documents.

    passages_N5: (N, 5) int64: document, start, end in characters, start, end in bytes; small_M3: (M, 3) int64:
    passage, start, end in characters of the document.
    """

    passages_N5: np.ndarray
    small_M3: np.ndarray


def read_documents(rows: Iterable[dict[str, Any]]) -> Iterator[Document]:
    """Check rows {"id", "title", "text", "spans", "pages"} (all but id and text optional) one by one.

    Raises KoreanLLMError where an id or a text is missing, an id stands twice, or a text is no Unicode.
    """
    seen: set[str] = set()
    for number, row in enumerate(rows):
        for name in ("id", "text"):
            if not isinstance(row.get(name), str):
                raise KoreanLLMError(f"document {number}: expected text in {name!r}, found {row.get(name)!r}.")
        if row["id"] in seen:
            raise KoreanLLMError(f"document {number}: the id {row['id']!r} stands twice; ids must be different.")
        seen.add(row["id"])
        text, title = (unicodedata.normalize("NFC", row.get(name) or "") for name in ("text", "title"))
        if not (is_unicode(row["id"]) and is_unicode(text) and is_unicode(title)):
            raise KoreanLLMError(f"document {row['id']!r} holds half a surrogate pair, which is no text; mend it.")
        spans = tuple((int(start), int(end)) for start, end in row.get("spans") or ())
        pages = tuple((int(number), int(start), int(end)) for number, start, end in row.get("pages") or ())
        _check_spans(row, text, spans)
        _check_spans(row, text, tuple(page[1:] for page in pages))
        yield Document(row["id"], title, text, spans, pages)


def _check_spans(row: dict[str, Any], text: str, spans: tuple[Span, ...]) -> None:
    if not spans:
        return
    if text != row["text"]:
        raise KoreanLLMError(f"document {row['id']!r}: spans count characters of NFC text; normalise its text first.")
    inside = all(0 <= start < end <= len(text) for start, end in spans)
    if not (inside and all(a <= b for (a, _), (b, _) in pairwise(spans))):
        raise KoreanLLMError(
            f"document {row['id']!r}: expected ascending spans within 0–{len(text)}, found {spans[:3]}…"
        )


def is_unicode(text: str) -> bool:
    """False for text with lone surrogates, which can be neither analysed nor written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def cut(documents: Sequence[Document], passage_chars: int, small_chars: int) -> Cut:
    """Cut documents into passages. small_chars: length of small passages; 0 where there is no dense arm."""
    rows: list[tuple[int, int, int, int, int]] = []
    small: list[tuple[int, int, int]] = []
    for number, document in enumerate(console.progress(documents, "cutting passages")):
        spans = document.spans or [(p.start, p.end) for p in passages(number, document.text, passage_chars)]
        for (start, end), (first, last) in zip(spans, _in_bytes(document.text, spans), strict=True):
            if small_chars:
                small.extend((len(rows), *span) for span in _small(document.text, start, end, small_chars))
            rows.append((number, start, end, first, last))
    return Cut(np.array(rows, np.int64).reshape(-1, 5), np.array(small, np.int64).reshape(-1, 3))


def _in_bytes(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """Spans of characters as spans of UTF-8 bytes."""
    at, at_byte = 0, 0
    for start, end in spans:
        if start < at:  # spans that overlap
            at, at_byte = 0, 0
        first = at_byte + len(text[at:start].encode())
        yield first, first + len(text[start:end].encode())
        at, at_byte = start, first


def _small(text: str, start: int, end: int, small_chars: int) -> Iterator[Span]:
    """A passage as small passages; as it is where it is not much longer than one."""
    if end - start <= small_chars * 3 // 2:
        yield start, end
        return
    for part in passages(0, text[start:end], small_chars):
        yield start + part.start, start + part.end


def passage_text(title: str, text: str) -> str:
    """What is indexed of a passage."""
    return f"{title}\n{text}"
