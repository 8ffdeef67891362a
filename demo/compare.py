"""The tab with one question and two models side by side; which one the reader finds better becomes feedback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo.escape import escaped
from demo.models import picker, place_of
from demo.parts import ANSWERING, AT_ONCE, Demo, busy, html
from demo.render import problem_html
from demo.talk import COLUMNS, Wish, choose, side_by_side
from korean_llm.answering.session import Source
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.index import MAX_QUESTION_CHARS

CHOICES = (("l", "better_left"), ("", "better_none"), ("r", "better_right"))


def compare_tab(demo: Demo, reader: gr.BrowserState, which: gr.Radio) -> None:
    """Lay the tab out and wire it; which: the documents that are asked."""
    words, offered = demo.words, list(demo.library.models.offered)
    with gr.Column(elem_classes="sheet"):
        html(f'<p class="lead">{escaped(words("compare_hint"))}</p>', "compare-lead")
        if not offered:
            html(f'<p class="empty">{escaped(words("compare_none"))}</p>', "compare-none")
            return
        with gr.Row(elem_id="compare-ask"):
            question = gr.Textbox(
                label=words("question"),
                placeholder=words("ask_here"),
                max_length=MAX_QUESTION_CHARS,
                elem_id="compare-question",
                scale=5,
            )
            send = gr.Button(words("compare"), variant="primary", elem_id="compare-send", scale=1)
        empty = f'<p class="empty">{escaped(words("compare_empty"))}</p>'
        with gr.Row(elem_id="columns"):
            models, answers = [], []
            for name, stage in (("left", offered[0]), ("right", offered[-1])):
                with gr.Column(min_width=280):
                    models.append(picker(demo, words(name), f"model-{name}", [], stage))
                    answers.append(html(empty, f"answer-{name}"))
        with gr.Row(visible=False, elem_id="choices") as row:
            buttons = [gr.Button(words(key), elem_classes="choice", min_width=90) for _, key in CHOICES]
        said = html("", "compare-said")

    def ask(id: str, text: str, source: Source, request: gr.Request, *picked: str) -> Iterator[tuple[Any, ...]]:
        session = demo.session(id, request)
        if busy(session, text, words):
            yield (gr.skip(),) * 4
            return
        try:
            wishes = [Wish("generative", source, place_of(demo, choice)) for choice in picked]
        except KoreanLLMError as error:
            problem = problem_html(words("model_refused"), str(error))
            yield problem, empty, gr.update(visible=False), ""
            return
        for columns in side_by_side(demo.library, demo.sessions, session, text, wishes, words):
            yield *columns, gr.update(visible=False), ""
        both = all(exchange.answer for exchange in session.compared.values())
        yield gr.skip(), gr.skip(), gr.update(visible=both), ""

    def chosen(choice: str) -> Any:
        def write(id: str, request: gr.Request) -> str:
            kept = choose(demo.sessions, demo.session(id, request), choice)
            return f'<p class="hint" role="status">{escaped(words("thanks" if kept else "not_kept"))}</p>'

        return write

    inputs = [reader, question, which, *models]
    for event in (question.submit, send.click):
        event(ask, inputs, [*answers, row, said], **ANSWERING)
    for (choice, _), button in zip(CHOICES, buttons, strict=True):
        button.click(chosen(choice), reader, said, **AT_ONCE)
    assert len(answers) == len(COLUMNS)
