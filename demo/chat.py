"""The tab with the conversation: question, streamed answers, what can be done with them, and their sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.escape import escaped
from demo.models import place_of, sampling
from demo.parts import ANSWERING, AT_ONCE, QUIET, Demo, busy, html
from demo.source import NO_SOURCE
from demo.talk import Wish, drawn, opened, respond
from demo.words import Words
from korean_llm.answering.answer import Answer, Mode
from korean_llm.answering.session import Exchange, Session, Source
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.index import MAX_QUESTION_CHARS

NUM_EXAMPLES = 4


@dataclass(frozen=True)
class Chat:
    """The components of this part; editor: the row in which an answer is rewritten."""

    talk: gr.Chatbot
    question: gr.Textbox
    again: gr.Button
    status: gr.HTML
    editor: gr.Column
    draft: gr.Textbox
    save: gr.Button
    cancel: gr.Button
    edited: gr.State


def chat(demo: Demo) -> Chat:
    """Lay the part out."""
    words = demo.words
    talk = _talk(demo)
    with gr.Column(visible=False, elem_id="editor") as editor:
        draft = gr.Textbox(label=words("edit_label"), lines=3, max_lines=10, elem_id="draft")
        with gr.Row():
            cancel = gr.Button(words("cancel"), size="sm", elem_classes="quiet")
            save = gr.Button(words("save"), size="sm", variant="primary", elem_id="save")
    question = _question(words)
    with gr.Row(elem_id="below"):
        html(escaped(words("caution")), "caution")
        again = gr.Button(words("new_chat"), size="sm", elem_id="again", elem_classes="quiet")
    status = html("", "status")
    return Chat(talk, question, again, status, editor, draft, save, cancel, gr.State(""))


def _talk(demo: Demo) -> gr.Chatbot:
    words = demo.words
    welcome = f"<b>{escaped(words('welcome'))}</b><br>{escaped(words('welcome_more'))}"
    return gr.Chatbot(
        label=words("chat"),
        show_label=False,
        elem_id="chat",
        height="100%",
        buttons=[],
        latex_delimiters=[],
        feedback_options=None,
        group_consecutive_messages=False,
        allow_tags=False,
        placeholder=f"<div class='welcome'>{welcome}</div>",
        examples=[{"text": text} for text in demo.library.example_questions(NUM_EXAMPLES)],
    )


def _question(words: Words) -> gr.Textbox:
    return gr.Textbox(
        label=words("question"),
        show_label=False,
        placeholder=words("ask_here"),
        max_length=MAX_QUESTION_CHARS,
        max_lines=6,
        autofocus=True,
        submit_btn=True,
        elem_id="question",
        html_attributes=gr.InputHTMLAttributes(enterkeyhint="send", lang="ko"),
    )


def wire(demo: Demo, reader: gr.BrowserState, part: Chat, source: gr.HTML, chosen: list[Any]) -> None:
    """Connect the part. chosen: which documents, kind of answer, model and sampling, in this order."""
    answering: dict[str, Any] = {
        "fn": _asker(demo),
        "inputs": [reader, part.question, *chosen],
        "outputs": [part.question, part.talk, part.status],
        **ANSWERING,
    }
    part.question.submit(**answering)
    part.talk.example_select(_example, None, part.question, **QUIET).then(**answering)
    part.question.stop(_stopper(demo), reader, None, **AT_ONCE)
    source.again(_again(demo), [reader, *chosen], answering["outputs"], **ANSWERING)
    source.open(_opener(demo), reader, source, **AT_ONCE)
    source.shut(lambda: NO_SOURCE, None, source, **AT_ONCE)
    source.act(_act(demo), reader, [part.talk, part.status, part.editor, part.draft, part.edited], **AT_ONCE)
    saved = [part.talk, part.status, part.editor]
    part.save.click(_saver(demo), [reader, part.edited, part.draft], saved, **AT_ONCE)
    part.cancel.click(lambda: gr.update(visible=False), None, part.editor, **AT_ONCE)


def _example(event: gr.SelectData) -> str:
    return str(event.value["text"])


def _wish(demo: Demo, source: Source, mode: Mode, model: str, *values: Any, fresh: bool = False) -> Wish:
    *numbers, agent = values
    return Wish(mode, source, place_of(demo, model), sampling(*numbers), bool(agent), fresh)


def _answered(
    demo: Demo, session: Session, question: str, wish: Wish, instead: Exchange | None = None
) -> Iterator[tuple[Any, Any, Any]]:
    words, box = demo.words, gr.update(value="", submit_btn=False, stop_btn=True)
    for messages in respond(demo.library, demo.sessions, session, question, wish, words, instead):
        if session.closed:
            yield gr.skip(), gr.skip(), gr.skip()  # what is yielded last is shown once more at the end
            return
        yield box, messages, gr.skip()
        box = gr.skip()
    yield gr.update(submit_btn=True, stop_btn=False), gr.skip(), status_html(_outcome(session, words), shown=False)


def _outcome(session: Session, words: Words) -> str:
    """Read out once an answer is whole."""
    exchange = session.exchanges[-1]
    if exchange.answer is None:
        return words("failed")
    count = len(exchange.answer.citations)
    return words("answered", count=count) if exchange.answer.found else words("answered_not")


def _asker(demo: Demo) -> Any:
    def ask(id: str, text: str, request: gr.Request, *chosen: Any) -> Iterator[tuple[Any, Any, Any]]:
        session = demo.session(id, request)
        if busy(session, text, demo.words):
            yield gr.skip(), gr.skip(), gr.skip()
            return
        try:
            wish = _wish(demo, *chosen)
        except KoreanLLMError as error:
            gr.Warning(escaped(str(error)), title=demo.words("model_refused"))
            yield gr.skip(), gr.skip(), gr.skip()
            return
        yield from _answered(demo, session, text, wish)

    return ask


def _again(demo: Demo) -> Any:
    def again(id: str, event: gr.EventData, request: gr.Request, *chosen: Any) -> Iterator[tuple[Any, Any, Any]]:
        session = demo.session(id, request)
        old = session.exchange(_value(event).partition(":")[0])
        if old not in session.exchanges or busy(session, old.question, demo.words):
            yield gr.skip(), gr.skip(), gr.skip()
            return
        yield from _answered(demo, session, old.question, _wish(demo, *chosen, fresh=True), instead=old)

    return again


def _stopper(demo: Demo) -> Any:
    def stop(id: str, request: gr.Request) -> None:
        demo.sessions.leave(demo.session(id, request))

    return stop


def _opener(demo: Demo) -> Any:
    def open_source(id: str, event: gr.EventData, request: gr.Request) -> str:
        session, value = demo.session(id, request), _value(event)
        turn, _, rest = value.partition(":")
        exchange = session.exchange(turn)
        if exchange is not None and session.cited(value) and rest.startswith("c:"):
            demo.sessions.record(exchange, "citation", rest.removeprefix("c:"))
        return opened(demo.library, session, value, demo.words)

    return open_source


def _act(demo: Demo) -> Any:
    words = demo.words
    nothing = (gr.skip(),) * 5

    def act(id: str, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        session = demo.session(id, request)
        turn, _, kind = _value(event).partition(":")
        exchange = session.exchange(turn)
        if exchange is None or exchange.answer is None or kind not in ("up", "down", "copy", "edit"):
            return nothing
        if kind == "edit":
            return gr.skip(), gr.skip(), gr.update(visible=True), exchange.edited or plain(exchange.answer), turn
        if kind == "copy":
            demo.sessions.record(exchange, "copy")
            return gr.skip(), status_html(words("copied")), gr.skip(), gr.skip(), gr.skip()
        vote: Any = "none" if exchange.vote == kind else kind
        if not demo.sessions.record(exchange, vote):
            return gr.skip(), status_html(words("not_kept")), gr.skip(), gr.skip(), gr.skip()
        exchange.vote = "" if vote == "none" else vote
        return drawn(session, words), status_html(words("thanks")), gr.skip(), gr.skip(), gr.skip()

    return act


def _saver(demo: Demo) -> Any:
    words = demo.words

    def save(id: str, turn: str, text: str, request: gr.Request) -> tuple[Any, Any, Any]:
        session = demo.session(id, request)
        exchange = session.exchange(turn)
        if exchange is None or not text.strip() or not demo.sessions.record(exchange, "edit", text.strip()):
            return gr.skip(), status_html(words("not_kept")), gr.skip()
        exchange.edited = text.strip()
        return drawn(session, words), status_html(words("thanks")), gr.update(visible=False)

    return save


def plain(answer: Answer) -> str:
    """The answer without its marks, to be rewritten."""
    return " ".join("".join(piece.text for piece in answer.pieces if not piece.citation).split())


def status_html(text: str, *, shown: bool = True) -> str:
    """Read out; shown for a moment, unless it can be seen anyway."""
    return f'<div class="{"toast" if shown else "aloud"}" role="status" aria-live="polite">{escaped(text)}</div>'


def _value(event: gr.EventData) -> str:
    return str(event._data.get("value", ""))
