"""The demo's page: chat on the left, the cited source on the right (on a phone, over the chat from below)."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import; without it the server looks up two hosts

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo.render import NO_SOURCE, escaped
from demo.style import HEAD, SOURCE_SCRIPT, STYLE_SHEET, theme
from demo.talk import Conversation, opened, respond
from korean_llm import console
from korean_llm.answering.answer import Mode
from korean_llm.answering.library import Library
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval.index import MAX_QUESTION_CHARS

MODE_NAMES: list[tuple[str, Mode]] = [("발췌 답변", "extractive"), ("생성 답변", "generative")]
NUM_EXAMPLES = 4
MAX_ANSWERING = 4
"""Answers made at a time; more readers wait in line."""

_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(library: Library) -> gr.Blocks:
    """The page over a run."""
    with gr.Blocks(title="문서에 묻기", analytics_enabled=False, fill_width=True) as page:
        talk = gr.State(Conversation())
        with gr.Row(elem_id="top"):
            _html(_heading(library), "heading")
            mode = gr.Radio(MODE_NAMES, value=library.default_mode, show_label=False, container=False, elem_id="mode")
        notice = _html(_notice(library, library.default_mode), "notice")
        with gr.Row(elem_id="main"):
            with gr.Column(scale=7, min_width=300, elem_id="chat-side"):
                chat, question = _chat(library), _question()
                with gr.Row(elem_id="below"):
                    _html("답변은 틀릴 수 있습니다. 번호를 눌러 원문을 확인하세요.", "caution")
                    again = gr.Button("새 대화", size="sm", elem_id="again")
            with gr.Column(scale=5, min_width=300, elem_id="source-side"):
                source = _html(NO_SOURCE, "source", js_on_load=SOURCE_SCRIPT.read_text(encoding="utf-8"))

        def ask(text: str, chosen: Mode, said: Conversation) -> Iterator[tuple[Any, Any]]:
            if not text.strip() or said.stop is not None:
                gr.Info("질문을 적어 주세요." if said.stop is None else "앞의 답변이 끝나면 물어보세요.", duration=3)
                yield gr.skip(), gr.skip()
                return
            for messages in respond(library, text, chosen, said):
                if said.closed:
                    yield gr.skip(), gr.skip()  # what is yielded last is shown once more at the end
                    return
                yield gr.update(value="", submit_btn=False, stop_btn=True), messages
            yield gr.update(submit_btn=True, stop_btn=False), gr.skip()

        def stop(said: Conversation) -> None:
            if said.stop is not None:
                said.stop.set()

        def open_source(said: Conversation, event: gr.EventData) -> str:
            return opened(library, said, str(event._data.get("value", "")))

        def forget(said: Conversation) -> tuple[Conversation, list[Any], str, Any]:
            said.closed = True
            stop(said)
            return Conversation(), [], NO_SOURCE, gr.update(value="", submit_btn=True, stop_btn=False)

        answering: dict[str, Any] = {
            "fn": ask,
            "inputs": [question, mode, talk],
            "outputs": [question, chat],
            "concurrency_limit": MAX_ANSWERING,
            "concurrency_id": "answering",
            **_QUIET,
        }
        question.submit(**answering)
        chat.example_select(_example, None, question, **_QUIET).then(**answering)
        question.stop(stop, talk, None, queue=False, **_QUIET)
        mode.change(lambda chosen: _notice(library, chosen), mode, notice, queue=False, **_QUIET)
        again.click(forget, talk, [talk, chat, source, question], queue=False, **_QUIET)
        source.open(open_source, talk, source, queue=False, **_QUIET)
        source.shut(lambda: NO_SOURCE, None, source, queue=False, **_QUIET)
    return page


def _html(value: str, elem_id: str, js_on_load: str | None = None) -> gr.HTML:
    return gr.HTML(value, elem_id=elem_id, js_on_load=js_on_load, apply_default_css=False)


def _chat(library: Library) -> gr.Chatbot:
    return gr.Chatbot(
        show_label=False,
        elem_id="chat",
        height="100%",
        buttons=[],
        latex_delimiters=[],
        feedback_options=None,
        group_consecutive_messages=False,
        allow_tags=False,
        placeholder="<div class='welcome'><b>무엇이 궁금하세요?</b><br>문서를 찾아 근거와 함께 답합니다.</div>",
        examples=[{"text": text} for text in library.example_questions(NUM_EXAMPLES)],
    )


def _question() -> gr.Textbox:
    return gr.Textbox(
        label="질문",
        show_label=False,
        placeholder="문서에 대해 물어보세요",
        max_length=MAX_QUESTION_CHARS,
        max_lines=6,
        autofocus=True,
        submit_btn=True,
        elem_id="question",
        html_attributes=gr.InputHTMLAttributes(enterkeyhint="send", lang="ko"),
    )


def _heading(library: Library) -> str:
    count = f"문서 {len(library.index.documents):,}건"
    return f"<h1>문서에 묻기</h1><p>{escaped(library.name)} · {count}</p>"


def _notice(library: Library, mode: Mode) -> str:
    return f'<p class="{mode}">{escaped(library.notice(mode))}</p>'


def _example(event: gr.SelectData) -> str:
    return str(event.value["text"])


def launch(
    folder: Path, *, host: str, port: int, machine: Machine, endpoint: str | None = None, model: str | None = None
) -> None:
    """Serve the page until Ctrl-C. Raises KoreanLLMError where the run has no index or the address cannot be had."""
    port = free_port(host, port)
    library = Library(folder, machine, endpoint, model)
    library.answerer("extractive").answer("준비")  # so that the first reader does not wait for Kiwi and the encoder
    page = build(library)
    serve(page, host, port)
    console.note(f"the demo of {folder} is open at {page.local_url} (Ctrl-C ends it)")
    try:
        while page.is_running:
            time.sleep(0.2)
    except KeyboardInterrupt:
        console.note("the demo is closed.")
    finally:
        page.close(verbose=False)


def serve(page: gr.Blocks, host: str, port: int) -> None:
    """Start the server in threads of its own."""
    for name in ("NO_PROXY", "no_proxy"):  # gradio asks its own address once whether it answers
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), host]))
    page.queue(max_size=64).launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size=0,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=theme(),
        css_paths=STYLE_SHEET,
        head=HEAD,
    )


def free_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises KoreanLLMError where it is taken or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise KoreanLLMError(
            f"the demo cannot listen on {host}:{port} ({error.strerror}); choose another --port, or --port 0 for a"
            " free one."
        ) from None
