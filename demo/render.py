"""Answers and sources as HTML. Every text that comes from a document, a question or a model is escaped here.

The chat component reads messages as Markdown. A message is therefore one HTML block on one line, in which Markdown is
not read, and characters that mean something to Markdown are written as entities all the same.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from korean_llm.answering.answer import Answer, Citation, Piece
from korean_llm.retrieval.index import Document

CONTEXT_CHARS = 6_000
"""Characters of a long document that are shown on each side of a cited span."""

_SPECIAL = re.compile(r"""["#$&'()*+/<=>@\[\\\]^_`{|}~]""")


def escaped(text: str) -> str:
    """The text as HTML on one line; every ASCII character that could mean something becomes an entity."""
    entities = _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", text)
    return entities.replace("\r", "").replace("\n", "<br>")


def question_html(question: str) -> str:
    """What the reader asked."""
    return f'<div class="asked">{escaped(question)}</div>'


def waiting_html(text: str) -> str:
    """Shown until the first words of an answer are there."""
    return f'<div class="waiting" role="status">{escaped(text)}<i></i><i></i><i></i></div>'


def problem_html(headline: str, detail: str = "") -> str:
    """Shown in the place of an answer that could not be had."""
    more = f'<div class="detail">{escaped(detail)}</div>' if detail else ""
    return f'<div class="problem" role="alert"><b>{escaped(headline)}</b>{more}</div>'


def streaming_html(turn: int, pieces: Iterable[Piece]) -> str:
    """An answer that is still being written."""
    return f'<div class="answer streaming">{_said(turn, pieces)}<i class="caret"></i></div>'


def answer_html(turn: int, answer: Answer) -> str:
    """A whole answer: text with marks, the documents it cites or the nearest ones, and how far to trust it."""
    parts = [f'<div class="said">{_said(turn, answer.pieces)}</div>']
    if answer.stopped:
        parts.append('<div class="stopped">여기서 멈추었습니다.</div>')
    if answer.citations:
        parts.append(_documents(turn, "근거", "c", answer.citations))
    elif answer.nearest:
        parts.append(_documents(turn, "가까운 문서", "n", answer.nearest))
    if answer.mode == "generative" and answer.found:
        parts.append(f'<div class="trust">{escaped(answer.notice)}</div>')
    kind = "answer" if answer.found else "answer unanswered"
    return f'<div class="{kind}">{"".join(parts)}</div>'


def _said(turn: int, pieces: Iterable[Piece]) -> str:
    return "".join(
        _button(turn, "c", piece.citation, str(piece.citation.number), "mark")
        if piece.citation
        else escaped(piece.text)
        for piece in pieces
    )


def _button(turn: int, kind: str, citation: Citation, label: str, style: str) -> str:
    """A button that opens a source; its value is read by the page's script and checked again on the server."""
    title = escaped(" ".join(f"근거 {citation.number}: {citation.title}".split()))
    value = f"{turn}:{kind}:{citation.number}"
    return f'<button type="button" class="cite {style}" value="{value}" title="{title}">{label}</button>'


def _documents(turn: int, heading: str, kind: str, citations: Sequence[Citation]) -> str:
    """The documents, each once, with the numbers that open its places."""
    rows = []
    for document_id in dict.fromkeys(citation.document_id for citation in citations):
        places = [citation for citation in citations if citation.document_id == document_id]
        name = _button(turn, kind, places[0], escaped(places[0].title or document_id), "title")
        numbers = [_button(turn, kind, place, str(place.number), "mark") for place in places] if kind == "c" else []
        rows.append(f'<div class="row">{"".join(numbers)}{name}</div>')
    return f'<div class="sources"><span class="label">{heading}</span>{"".join(rows)}</div>'


def source_html(citation: Citation, document: Document) -> str:
    """A document with the cited span marked. The marked text is exactly the document's text[start:end]."""
    start, end = citation.start, citation.end
    low, high = _context(document.text, start, end)
    length = len(document.text)
    percent = round(100 * start / length)
    before = ("… " if low else "") + document.text[low:start]
    after = document.text[end:high] + (" …" if high < length else "")
    body = f"{_plain(before)}<mark>{_plain(citation.text)}</mark>{_plain(after)}"
    return (
        '<article class="source">'
        '<header><div class="kicker">원문</div><button type="button" class="close" aria-label="원문 닫기">닫기</button>'
        f"<h2>{_plain(document.title or document.id)}</h2>"
        f'<div class="where">{_plain(document.id)} · {start + 1:,}–{end:,}번째 글자 (전체 {length:,}자)</div>'
        f'<div class="gauge" aria-hidden="true"><i style="left:{percent}%"></i></div></header>'
        f'<div class="body" tabindex="0">{body}</div></article>'
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


NO_SOURCE = (
    '<div class="source-empty"><svg viewBox="0 0 24 24" width="34" height="34" fill="none" stroke="currentColor"'
    ' stroke-width="1.4" aria-hidden="true"><path d="M5 4h9l5 5v11H5z"/><path d="M14 4v5h5"/>'
    '<path d="M8 13h8M8 16.5h5"/></svg><p>답변에 달린 번호를 누르면<br>근거가 된 원문이 여기에 열립니다.</p></div>'
)
