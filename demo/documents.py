"""The reader's own documents on the page: a place to drop them, what became of each, and which ones to ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo.escape import escaped
from demo.parts import AT_ONCE, QUIET, Demo, html
from demo.words import Words
from korean_llm.answering.session import Session
from korean_llm.answering.uploads import MAX_FILES, SUFFIXES, Upload

MAX_READING = 2
"""Readers whose documents are read at a time."""


@dataclass(frozen=True)
class Documents:
    """The components of this part."""

    which: gr.Radio
    files: gr.File
    listed: gr.HTML
    clear: gr.Button

    @property
    def shown(self) -> list[Any]:
        """What `documents_shown` is shown in."""
        return [self.which, self.listed, self.clear]


def documents(demo: Demo, reader: gr.BrowserState) -> Documents:
    """Lay the part out and wire it."""
    words = demo.words
    which = gr.Radio(
        [(words(f"which_{source}"), source) for source in ("run", "own", "both")],
        value="run",
        label=words("ask_which"),
        elem_id="which",
        elem_classes="segments",
        visible=False,
    )
    files = gr.File(
        label=words("upload"), file_count="multiple", file_types=list(SUFFIXES), elem_id="files", height=112
    )
    listed = html(listed_html([], words), "uploads")
    clear = gr.Button(words("clear_uploads"), size="sm", elem_id="clear", elem_classes="quiet", visible=False)
    part = Documents(which, files, listed, clear)

    def take(id: str, paths: list[str] | None, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        session = demo.session(id, request)
        for uploads in session.uploads.add([Path(path) for path in paths or []]):
            yield gr.skip(), gr.skip(), listed_html(uploads, words), gr.skip()
        yield None, *documents_shown(session, words, ask_own=True)

    def forget(id: str, request: gr.Request) -> tuple[Any, ...]:
        session = demo.session(id, request)
        session.uploads.clear()
        return documents_shown(session, words)

    files.upload(
        take, [reader, files], [files, *part.shown], concurrency_limit=MAX_READING, concurrency_id="reading", **QUIET
    )
    clear.click(forget, reader, part.shown, **AT_ONCE)
    return part


def documents_shown(session: Session, words: Words, *, ask_own: bool = False) -> tuple[Any, ...]:
    """Updates of the choice, the list and the button for a session's documents; ask_own: choose them."""
    uploads = session.uploads
    there = uploads.num_documents > 0
    choice = (
        gr.update(visible=there) if there and not ask_own else gr.update(visible=there, value="own" if there else "run")
    )
    return choice, listed_html(uploads.uploads, words), gr.update(visible=bool(uploads.uploads))


def listed_html(uploads: list[Upload], words: Words) -> str:
    """Every file with what became of it."""
    if not uploads:
        lines = (words("upload_hint", count=MAX_FILES), words("upload_private"))
        return f'<div class="hint">{"<br>".join(map(escaped, lines))}</div>'
    rows = "".join(_row(upload, words) for upload in uploads)
    return f'<div role="status"><p class="summary">{_summary(uploads, words)}</p><ul class="uploads">{rows}</ul></div>'


def _row(upload: Upload, words: Words) -> str:
    said = {
        "waiting": words("upload_waiting"),
        "reading": words("upload_reading"),
        "done": words("upload_done", count=upload.num_chars),
        "refused": words(f"refused_{upload.reason or 'unknown'}").replace("{count}", str(MAX_FILES)),
    }[upload.state]
    busy = "<i></i>" if upload.state == "reading" else ""
    return f'<li class="{upload.state}"><b>{escaped(upload.name)}</b><span>{escaped(said)}{busy}</span></li>'


def _summary(uploads: list[Upload], words: Words) -> str:
    done, refused = (sum(upload.state == state for upload in uploads) for state in ("done", "refused"))
    if done + refused < len(uploads):
        name = escaped(words("upload_reading"))
        return f'<progress value="{done + refused}" max="{len(uploads)}" aria-label="{name}"></progress>'
    return words("upload_summary_some", done=done, refused=refused) if refused else words("upload_summary", done=done)
