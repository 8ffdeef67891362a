"""The panel that shows a cited document with the cited span marked."""

from __future__ import annotations

import html

from demo.words import Words
from korean_llm.answering.answer import Citation
from korean_llm.retrieval.index import Document

CONTEXT_CHARS = 6_000
"""Characters of a long document that are shown on each side of a cited span."""

NO_SOURCE = ""


def source_html(citation: Citation, document: Document, words: Words) -> str:
    """A document with the cited span marked. The marked text is exactly the document's text[start:end]."""
    start, end = citation.start, citation.end
    low, high = _context(document.text, start, end)
    length = len(document.text)
    before = ("… " if low else "") + document.text[low:start]
    after = document.text[end:high] + (" …" if high < length else "")
    where = [document.id, words("page", page=citation.page) if citation.page else ""]
    where.append(words("place", start=start + 1, end=end, length=length))
    gauge = f'<div class="gauge" aria-hidden="true"><i style="left:{round(100 * start / length)}%"></i></div>'
    body = f"{_plain(before)}<mark>{_plain(citation.text)}</mark>{_plain(after)}"
    return _panel(document.title or document.id, " · ".join(filter(None, where)), gauge, body, words)


def lost_html(citation: Citation, words: Words) -> str:
    """In place of a document that is gone or says something else now: what was cited, and no more."""
    body = f'<p class="lost">{_plain(words("source_gone"))}</p><mark>{_plain(citation.text)}</mark>'
    return _panel(citation.title or citation.document_id, citation.document_id, "", body, words)


def _panel(title: str, where: str, gauge: str, body: str, words: Words) -> str:
    close = (
        f'<button type="button" class="close" aria-label="{_plain(words("close_source"))}">{words("close")}</button>'
    )
    return (
        f'<article class="source"><header><div class="kicker">{_plain(words("source"))}</div>{close}'
        f'<h2>{_plain(title)}</h2><div class="where">{_plain(where)}</div>{gauge}</header>'
        f'<div class="body" tabindex="0" role="region" aria-label="{_plain(words("source"))}">{body}</div></article>'
    )


def _plain(text: str) -> str:
    """Escaped text whose line breaks the style sheet keeps."""
    return html.escape(text)


def _context(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of a document to show, cut at line breaks where there are some near."""
    low, high = max(0, start - CONTEXT_CHARS), min(len(text), end + CONTEXT_CHARS)
    if low:
        low = text.find("\n", low, start) + 1 or low
    if high < len(text):
        at = text.rfind("\n", end, high)
        high = at if at >= 0 else high
    return low, high
