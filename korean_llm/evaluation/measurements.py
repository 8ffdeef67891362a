"""Measure the models of a run on the same hold-out text, one after the other, each loaded once."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.chat import Chat, open_chat
from korean_llm.machine import Machine
from korean_llm.measure.bits import Bits, bits_per_byte
from korean_llm.measure.fertility import Fertility, fertility
from korean_llm.modeling.load import load_model, load_tokenizer

Role = Literal["base", "extended", "adapted", "tuned"]

MAX_NEW_TOKENS = 48


@dataclass(frozen=True)
class Subject:
    """One model of the run.

    Attributes:
        role: what the model is called: base, extended (new tokens), adapted (pretrained on), tuned (instructions,
            preferences or rewards).
        stage: the stage whose artifact holds it.
        model: checkpoint folder.
        adapter: PEFT adapter to put on it, where no merged model was exported.
    """

    role: Role
    stage: str
    model: Path
    adapter: Path | None = None


@dataclass(frozen=True)
class Score:
    """How well a model predicts the hold-out text of one language: one entry per text, and the time for all."""

    texts: list[Bits]
    fertility: Fertility
    seconds: float

    @property
    def total(self) -> Bits:
        """All texts together."""
        return Bits(
            sum(text.bits for text in self.texts),
            sum(text.bytes for text in self.texts),
            sum(text.tokens for text in self.texts),
        )


@dataclass(frozen=True)
class Generation:
    """A greedy continuation. finished: the model ended it itself, before MAX_NEW_TOKENS."""

    prompt: str
    text: str
    finished: bool


@dataclass(frozen=True)
class Measured:
    """What was measured of one model: language → score, and one generation per prompt."""

    subject: Subject
    scores: dict[str, Score]
    generations: list[Generation]


def subjects(inputs: dict[str, Path]) -> list[Subject]:
    """The models that the artifacts hold, in the order they were made; inputs: role → artifact folder."""
    found = [Subject("base", "base", inputs["base"] / "model")]
    if "vocabulary" in inputs:
        found.append(Subject("extended", "vocabulary", inputs["vocabulary"] / "model"))
    if "pretraining" in inputs:
        found.append(Subject("adapted", "pretraining", inputs["pretraining"] / "model"))
    if tuned := _tuned(inputs, found[-1].model):
        found.append(tuned)
    return found


def _tuned(inputs: dict[str, Path], base: Path) -> Subject | None:
    """The model after the last tuning that the run has, merged where it was exported."""
    last = next((role for role in ("online", "preference", "instruction") if role in inputs), None)
    if last is None:
        return None
    merged = inputs["export"] / "model" if "export" in inputs else None
    if merged and (merged / "config.json").exists():
        return Subject("tuned", "export", merged)
    own = inputs["instruction"] / "model" if "instruction" in inputs else base
    model = own if own.exists() else base
    adapter = inputs[last] / "adapter"
    return Subject("tuned", last, model, adapter if adapter.exists() else None)


def measure_all(
    chosen: list[Subject], texts: dict[str, list[str]], prompts: list[str], machine: Machine
) -> list[Measured]:
    """Measure one model after the other, with only one in memory; texts: language → hold-out texts.

    The extended model is scored but not sampled: its new rows have learned nothing yet.
    """
    results = []
    for subject in chosen:
        results.append(measure(subject, texts, [] if subject.role == "extended" else prompts, machine))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results


def measure(subject: Subject, texts: dict[str, list[str]], prompts: list[str], machine: Machine) -> Measured:
    """Load one model, score it on the texts of every language, and let it continue the prompts."""
    with console.working(f"{subject.role}: loading"):
        model, tokenizer = load(subject, machine)
    scores = {
        language: score(model, tokenizer, part, f"{subject.role}: {language}") for language, part in texts.items()
    }
    chat = chat_of(tokenizer, tuned=subject.role == "tuned")
    generations = [
        generate(model, tokenizer, prompt, chat)
        for prompt in console.progress(prompts, f"{subject.role}: samples", len(prompts))
    ]
    return Measured(subject, scores, generations)


def load(subject: Subject, machine: Machine) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """The model of a subject, its adapter put on, and its tokenizer."""
    model: PreTrainedModel | PeftModel = load_model(subject.model, machine)
    if subject.adapter is None:
        return model.eval(), load_tokenizer(subject.model)
    model = PeftModel.from_pretrained(model, str(subject.adapter))
    return model.eval(), load_tokenizer(subject.adapter)


def score(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], label: str
) -> Score:
    """Bits per byte of every text, fertility of all, and the seconds that scoring took."""
    started = time.monotonic()
    bits = [bits_per_byte(model, tokenizer, [text]) for text in console.progress(texts, label, len(texts))]
    return Score(bits, fertility(tokenizer, texts), time.monotonic() - started)


def chat_of(tokenizer: PreTrainedTokenizerBase, *, tuned: bool) -> Chat | None:
    """The chat template to ask with: a tuned model always has one, another model only where it came with one."""
    if tuned:
        return open_chat(tokenizer)
    return Chat(tokenizer, str(tokenizer.chat_template)) if tokenizer.chat_template else None


@torch.inference_mode()
def generate(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, prompt: str, chat: Chat | None
) -> Generation:
    """The most likely continuation, token by token; asked as a chat message where there is a chat template."""
    text = chat.render([{"role": "user", "content": prompt}], answer=True) if chat else prompt
    encoded = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(model.device)
    end = tokenizer.eos_token_id
    ids_1T = model.generate(  # type: ignore[operator]
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    ids = ids_1T[0, encoded["input_ids"].shape[1] :].tolist()
    # A cut in the middle of a syllable decodes to U+FFFD; half a syllable is not shown.
    said = str(tokenizer.decode(ids, skip_special_tokens=True)).rstrip("\ufffd").strip()
    return Generation(prompt, said, finished=bool(ids) and ids[-1] == end)
