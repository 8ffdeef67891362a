"""The messages of a conversation as HTML.

The chat component reads messages as Markdown. A message is therefore one HTML block on one line, in which Markdown is
not read, and characters that mean something to Markdown are written as entities all the same. The component also drops
what it does not know, aria attributes among it: the page's script gives buttons their spoken names and states.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from demo.escape import escaped
from demo.words import Words
from korean_llm.answering.answer import Answer, Citation, Piece, Step
from korean_llm.answering.session import Exchange

Turn = int | str
"""An exchange's number in the conversation, or its column beside another."""

NOTICEABLE_S = 0.1
"""How long an answer took is told from here on."""

_BLANK_LINES = re.compile(r"(?:<br>\s*){3,}")
"""A model in a loop writes screens of nothing."""

_ICONS = {
    "up": "M7 11v9H4v-9zM7 11l4-8a2 2 0 0 1 2 2v4h5.5a2 2 0 0 1 2 2.3l-1.2 7a2 2 0 0 1-2 1.7H7",
    "down": "M17 13V4h3v9zM17 13l-4 8a2 2 0 0 1-2-2v-4H5.5a2 2 0 0 1-2-2.3l1.2-7A2 2 0 0 1 6.700 4H17",
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "regenerate": "M20 11a8 8 0 1 0-2.300 6M20 5v6h-6",
    "edit": "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
}


def question_html(question: str) -> str:
    """What the reader asked."""
    return f'<div class="asked">{escaped(question)}</div>'


def waiting_html(text: str) -> str:
    """Shown until the first words of an answer are there."""
    return f'<div class="waiting">{escaped(text)}<i></i><i></i><i></i></div>'


def problem_html(headline: str, detail: str = "") -> str:
    """Shown in the place of an answer that could not be had."""
    more = f'<div class="detail">{escaped(detail)}</div>' if detail else ""
    return f'<div class="problem" role="alert"><b>{escaped(headline)}</b>{more}</div>'


def streaming_html(turn: Turn, pieces: Iterable[Piece], words: Words) -> str:
    """An answer that is still being written, below what has been done for it so far."""
    pieces = list(pieces)
    done = _steps([piece.step for piece in pieces if piece.step], words, opened=True)
    return f'<div class="answer streaming">{done}{_said(turn, pieces, words)}<i class="caret"></i></div>'


def exchange_html(turn: Turn, exchange: Exchange, words: Words) -> str:
    """What stands below a question: the answer with what can be done with it, or what went wrong."""
    if exchange.answer is None:
        return problem_html(words("failed"), exchange.problem)
    return answer_html(turn, exchange.answer, words, edited=exchange.edited, acts=_acts(turn, exchange, words))


def answer_html(turn: Turn, answer: Answer, words: Words, *, edited: str = "", acts: str = "") -> str:
    """A whole answer: text with marks, the documents it cites or the nearest ones, and how far to trust it."""
    said = f'<div class="said">{escaped(edited) if edited else _said(turn, answer.pieces, words)}</div>'
    parts = [_before(turn, answer, words), _note("edited", words("edited")) if edited else "", said]
    if answer.stopped:
        parts.append(_note("stopped", words("stopped")))
    if answer.citations:
        parts.append(_documents(turn, "c", answer.citations, words))
    elif answer.nearest:
        parts.append(_documents(turn, "n", answer.nearest, words))
    parts += [_trust(answer, words), acts]
    kind = "answer" if answer.found else "answer unanswered"
    return f'<div class="{kind}">{"".join(parts)}</div>'


def _before(turn: Turn, answer: Answer, words: Words) -> str:
    """How the question was understood, whether the answer was kept, and what was done to find it."""
    parts = []
    if answer.understood:
        parts.append(_note("understood", words("understood", question=answer.understood)))
    if answer.kept_from:
        button = f'<button type="button" class="act fresh" value="{turn}:fresh">{escaped(words("fresh"))}</button>'
        parts.append(
            f'<div class="kept"><span>{escaped(words("kept", question=answer.kept_from))}</span>{button}</div>'
        )
    return "".join([*parts, _steps(answer.steps, words)])


def _steps(steps: Sequence[Step], words: Words, *, opened: bool = False) -> str:
    if not steps:
        return ""
    rows = "".join(
        f"<li><b>{escaped(words(f'step_{step.kind}'))}</b> {escaped(step.asked)}<span>{escaped(step.found)}</span></li>"
        for step in steps
    )
    summary = escaped(words("steps", count=len(steps)))
    return f'<details class="steps"{" open" if opened else ""}><summary>{summary}</summary><ol>{rows}</ol></details>'


def _trust(answer: Answer, words: Words) -> str:
    """How long it took; for what a model wrote also that it may be wrong."""
    lines = []
    if answer.mode == "generative" and answer.found:
        lines.append(answer.notice if words.language == "ko" else words("caution"))
    if (answer.trace.first_s or 0) >= NOTICEABLE_S and not answer.kept_from:
        lines.append(words("timing", first=answer.trace.first_s, whole=answer.trace.whole_s))
    return "".join(_note("trust", line) for line in lines)


def _note(kind: str, text: str) -> str:
    return f'<div class="{kind}">{escaped(text)}</div>'


def _said(turn: Turn, pieces: Iterable[Piece], words: Words) -> str:
    said = "".join(
        _button(turn, "c", piece.citation, str(piece.citation.number), "mark", words)
        if piece.citation
        else escaped(piece.text)
        for piece in pieces
    )
    return _BLANK_LINES.sub("<br><br>", said)


def _button(turn: Turn, kind: str, citation: Citation, label: str, style: str, words: Words) -> str:
    """A button that opens a source; its value is read by the page's script and checked again on the server."""
    name = escaped(" ".join(words("source_of", number=citation.number, title=citation.title).split()))
    value = f"{turn}:{kind}:{citation.number}"
    return f'<button type="button" class="cite {style}" value="{value}" title="{name}">{label}</button>'


def _documents(turn: Turn, kind: str, citations: Sequence[Citation], words: Words) -> str:
    """The documents, each once, with the numbers that open its places."""
    rows = []
    for document_id in dict.fromkeys(citation.document_id for citation in citations):
        places = [citation for citation in citations if citation.document_id == document_id]
        name = _button(turn, kind, places[0], escaped(places[0].title or document_id), "title", words)
        marks = [_button(turn, kind, place, str(place.number), "mark", words) for place in places]
        rows.append(f'<div class="row">{"".join(marks) if kind == "c" else ""}{name}</div>')
    heading = escaped(words("sources" if kind == "c" else "nearest"))
    return f'<div class="sources"><span class="label">{heading}</span>{"".join(rows)}</div>'


def _acts(turn: Turn, exchange: Exchange, words: Words) -> str:
    """Buttons below an answer."""
    buttons = []
    if isinstance(turn, str):  # side by side, one chooses between two
        return ""
    for act, path in _ICONS.items():
        if act == "edit" and not (exchange.answer and exchange.answer.found):
            continue
        kind = f"act icon{' pressed' if exchange.vote == act else ''}"
        buttons.append(
            f'<button type="button" class="{kind}" value="{turn}:{act}" title="{escaped(words(act))}">'
            f'<svg viewBox="0 0 24 24"><path d="{path}"></path></svg></button>'
        )
    return f'<div class="acts">{"".join(buttons)}</div>'
