"""What the parts of the page share."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import gradio as gr

from demo.words import Words
from korean_llm.answering.library import Library
from korean_llm.answering.session import Session, Sessions

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Every handler serves the page alone, and shows in its own words that it is at work."""

AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
MAX_ANSWERING = 4
"""Answers made at a time; more readers wait in line."""

ANSWERING: dict[str, Any] = {**QUIET, "concurrency_limit": MAX_ANSWERING, "concurrency_id": "answering"}


@dataclass(frozen=True)
class Demo:
    """What a page is built over.

    far: whether readers come from other machines; they name no folders of this one.
    readers: who sits before which open page.
    """

    library: Library
    sessions: Sessions
    words: Words
    far: bool = False
    readers: dict[str, str] = field(default_factory=dict)
    arriving: Lock = field(default_factory=Lock)

    def session(self, id: str, request: gr.Request) -> Session:
        """The session of the reader before a page; a page that has no id yet has one and the same all the while."""
        page = str(request.session_hash)
        with self.arriving:
            session = self.sessions.open(id or self.readers.get(page, ""))
            self.readers[page] = session.id
        return session


def html(value: str, elem_id: str, js_on_load: str | None = None, **options: Any) -> gr.HTML:
    """A stretch of HTML; what it shows must be escaped."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=js_on_load, apply_default_css=False, **options)


def busy(session: Session, question: str, words: Words) -> bool:
    """Whether a question cannot be asked now; the reader is told why."""
    if not question.strip():
        gr.Info(words("no_question"), duration=3, title="")
        return True
    if session.stop is not None:
        gr.Info(words("still_answering"), duration=3, title="")
        return True
    return False
