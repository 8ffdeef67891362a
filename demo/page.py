"""The page over a run: chat, two models side by side, tokens, report; beside them documents, settings and sources."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from demo.chat import chat, wire
from demo.compare import compare_tab
from demo.documents import documents, documents_shown
from demo.escape import escaped
from demo.models import notice_html, settings
from demo.parts import AT_ONCE, Demo, html
from demo.report import framed, report_tab
from demo.source import NO_SOURCE
from demo.style import PAGE_SCRIPT
from demo.talk import drawn
from demo.tokens import tokens_tab
from demo.words import LANGUAGES

STORED_UNDER = "korean-llm-reader"
"""Where a browser keeps which reader it is; the words are no secret, the reader's id is."""


def build(demo: Demo) -> gr.Blocks:
    """The page in one language."""
    words, library = demo.words, demo.library
    with gr.Blocks(title=words("title"), analytics_enabled=False, fill_width=True) as page:
        reader = gr.BrowserState("", storage_key=STORED_UNDER, secret=STORED_UNDER)
        html(_heading(demo), "top")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab(words("tab_chat"), id="chat", elem_id="tab-chat"), gr.Row(elem_id="main"):
                with gr.Column(scale=7, min_width=300, elem_id="chat-side"):
                    notice = html(notice_html(demo, library.default_mode, None), "notice")
                    talk = chat(demo)
                with gr.Column(scale=5, min_width=280, elem_id="tray"):
                    html(_tray_heading(demo), "tray-heading")
                    own = documents(demo, reader)
                    html(f"<h2>{escaped(words('answers'))}</h2>", "answers-heading")
                    chosen = settings(demo, notice)
                    html(_hints(demo), "hints")
            with gr.Tab(words("tab_compare"), id="compare", elem_id="tab-compare"):
                compare_tab(demo, reader, own.which)
            with gr.Tab(words("tab_tokens"), id="tokens", elem_id="tab-tokens"):
                tokens_tab(demo)
            with gr.Tab(words("tab_report"), id="report", elem_id="tab-report") as tab:
                report = report_tab(demo)
        with gr.Column(elem_id="source-side"):
            source = html(NO_SOURCE, "source", js_on_load=PAGE_SCRIPT.read_text(encoding="utf-8"))

        wire(demo, reader, talk, source, [own.which, *chosen.chosen])
        tab.select(lambda: framed(library.folder, words), None, report, **AT_ONCE)
        part = [talk.talk, *own.shown]
        page.load(_arrive(demo), reader, [reader, *part], **AT_ONCE)
        talk.again.click(_renew(demo), reader, [reader, talk.talk, source, talk.question, talk.editor], **AT_ONCE)
        page.unload(_leave(demo))
    return page


def _arrive(demo: Demo) -> Any:
    """The reader's conversation and documents, as they were left."""

    def arrive(id: str, request: gr.Request) -> tuple[Any, ...]:
        session = demo.session(id, request)
        return session.id, drawn(session, demo.words), *documents_shown(session, demo.words)

    return arrive


def _renew(demo: Demo) -> Any:
    def renew(id: str, request: gr.Request) -> tuple[Any, ...]:
        session = demo.sessions.renew(demo.session(id, request))
        demo.readers[str(request.session_hash)] = session.id
        fresh = gr.update(value="", submit_btn=True, stop_btn=False)
        return session.id, [], NO_SOURCE, fresh, gr.update(visible=False)

    return renew


def _leave(demo: Demo) -> Any:
    def leave(request: gr.Request) -> None:
        if id := demo.readers.pop(str(request.session_hash), None):
            demo.sessions.leave(demo.sessions.open(id))

    return leave


def _hints(demo: Demo) -> str:
    keys = ["keeping", "source_hint"] if demo.library.keeps_answers else ["source_hint"]
    return "".join(f'<p class="hint">{escaped(demo.words(key))}</p>' for key in keys)


def _heading(demo: Demo) -> str:
    words = demo.words
    run = words("run", name=demo.library.name, count=len(demo.library.index.documents))
    other = next(language for language in LANGUAGES if language != words.language)
    names = {name: words(key) for name, key in (("send", "send"), ("stop", "stop"), ("chat", "chat"))}
    return (
        f'<header data-names="{escaped(json.dumps(names))}"><div><h1>{escaped(words("title"))}</h1>'
        f"<p>{escaped(run)}</p></div>"
        f'<nav><a href="../{other}/" lang="{other}">{escaped(words("other_language"))}</a>'
        f'<button type="button" id="tray-button" aria-expanded="false">{escaped(words("tray"))}</button></nav></header>'
    )


def _tray_heading(demo: Demo) -> str:
    words = demo.words
    return (
        f'<h2>{escaped(words("documents"))}</h2><button type="button" class="closer">{escaped(words("close"))}</button>'
    )
