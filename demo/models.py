"""Picking how to answer: kind of answer, model or adapter, and how a model chooses its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.escape import escaped
from demo.parts import QUIET, Demo, html
from korean_llm.answering.answer import MODES, Mode, Sampling
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.errors import KoreanLLMError

OWN = "run"
"""Stands for the model that the run, or its endpoint, answers with by itself."""

MAX_TOKENS = 1_024

_MISFIT = re.compile(r"does not fit|was trained on|chat template|the tokenizer of")


@dataclass(frozen=True)
class Settings:
    """The components of this part."""

    mode: gr.Radio
    model: gr.Dropdown
    temperature: gr.Slider
    top_p: gr.Slider
    max_tokens: gr.Slider
    agent: gr.Checkbox

    @property
    def chosen(self) -> list[Any]:
        """What `sampling` and a handler read, in the order of a handler's arguments."""
        return [self.mode, self.model, self.temperature, self.top_p, self.max_tokens, self.agent]


def settings(demo: Demo, notice: gr.HTML) -> Settings:
    """Lay the part out and wire it."""
    words, library = demo.words, demo.library
    names: list[tuple[str, Mode]] = [(words(f"mode_{mode}"), mode) for mode in MODES]
    mode = gr.Radio(names, value=library.default_mode, label=words("mode"), elem_id="mode", elem_classes="segments")
    own = words("model_endpoint" if library.endpoint else "model_default")
    model = picker(demo, words("model"), "model", [(own, OWN)], OWN)
    state = html("", "model-state")
    with gr.Accordion(words("sampling"), open=False, elem_id="sampling"):
        html(f'<p class="hint">{escaped(words("sampling_hint"))}</p>', "sampling-hint")
        temperature = gr.Slider(0, 1.5, 0, step=0.1, label=words("temperature"), buttons=[])
        top_p = gr.Slider(0.1, 1, 1, step=0.05, label=words("top_p"), buttons=[])
        most = 512 if library.endpoint or library.machine.torch_device().type == "cuda" else 128
        max_tokens = gr.Slider(16, MAX_TOKENS, most, step=16, label=words("max_tokens"), buttons=[])
        agent = gr.Checkbox(False, label=words("agent"), info=words("agent_hint"), elem_id="agent")

    def pick(choice: str, mode: Mode) -> Iterator[tuple[Any, Any, str, Any]]:
        if choice == OWN:
            yield gr.skip(), gr.skip(), "", notice_html(demo, mode, None)
            return
        yield gr.skip(), gr.skip(), _state_html("opening", words("model_opening"), ""), gr.skip()
        try:
            place = library.models.find(choice, folders=not demo.far)
            library.models.open(place)
        except KoreanLLMError as error:
            why = words("model_misfit" if _MISFIT.search(str(error)) else "model_refused")
            yield OWN, gr.skip(), _state_html("refused", why, str(error)), gr.skip()
            return
        ready = _state_html("ready", words("model_open", name=choice), "")
        yield gr.skip(), "generative", ready, notice_html(demo, "generative", place)

    model.input(
        pick, [model, mode], [model, mode, state, notice], concurrency_limit=1, concurrency_id="opening", **QUIET
    )
    mode.input(lambda chosen, choice: notice_html(demo, chosen, place_of(demo, choice)), [mode, model], notice, **QUIET)
    return Settings(mode, model, temperature, top_p, max_tokens, agent)


def picker(demo: Demo, label: str, elem_id: str, first: list[tuple[str, str]], value: str | None) -> gr.Dropdown:
    """A list of the run's models that also takes what is typed."""
    words = demo.words
    stages = [(words(f"stage_{stage}"), stage) for stage in demo.library.models.offered]
    return gr.Dropdown(
        [*first, *stages],
        value=value,
        label=label,
        info=words("model_hint_far" if demo.far else "model_hint"),
        allow_custom_value=True,
        elem_id=elem_id,
    )


def place_of(demo: Demo, choice: str) -> ModelPlace | None:
    """The model of a choice; None for the one that answers by itself. Raises KoreanLLMError where there is none."""
    return None if choice == OWN else demo.library.models.find(choice, folders=not demo.far)


def sampling(temperature: float, top_p: float, max_tokens: float) -> Sampling:
    """The sliders' values."""
    return Sampling(float(temperature), float(top_p), int(max_tokens))


def notice_html(demo: Demo, mode: Mode, place: ModelPlace | None) -> str:
    """How far to trust the answers."""
    size = demo.words.size(demo.library.parameters(place) or 0)
    text = demo.words(f"notice_{demo.library.trust(mode, place)}", size=size)
    return f'<p class="{mode}">{escaped(text)}</p>'


def _state_html(kind: str, headline: str, detail: str) -> str:
    more = f"<span>{escaped(detail)}</span>" if detail else ""
    dots = "<i></i><i></i><i></i>" if kind == "opening" else ""
    return f'<div class="state {kind}" role="status"><b>{escaped(headline)}</b>{dots}{more}</div>'
