"""Answers drawn from a tuned model: n for each prompt, the same ones whenever the same prompt is asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from korean_llm.chat import Chat, Message
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model
from korean_llm.recipe import Sampling
from korean_llm.training.examples import Prompt


def open_tuned(model: Path, adapter: Path | None, machine: Machine) -> PreTrainedModel | PeftModel:
    """The model of a checkpoint folder with its adapter, for generation."""
    opened: Any = load_model(model, machine)
    if adapter:
        opened = PeftModel.from_pretrained(opened, str(adapter))
    return opened.eval()


@dataclass(frozen=True)
class Answer:
    """What the model said; ended: it ended it itself, before the limit."""

    text: str
    ended: bool


@torch.inference_mode()
def draw(model: Any, chat: Chat, prompt: Prompt, settings: Sampling, seed: int) -> list[Answer]:
    """settings.answers answers to a prompt; seed and prompt alone decide them, not what was drawn before.

    model: anything that generates. The global random state is put back as it was.
    """
    text = chat.render(prompt.messages, answer=True)
    encoded: Any = chat.tokenizer(text, return_tensors="pt", add_special_tokens=False).to(model.device)
    mark = hashlib.sha256(f"{seed}\x00{prompt.id}".encode()).digest()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int.from_bytes(mark[:6], "big"))
        ids_BT = model.generate(
            **encoded,
            do_sample=True,
            temperature=settings.temperature,
            top_k=0,
            top_p=1.0,
            num_return_sequences=settings.answers,
            max_new_tokens=settings.max_answer_tokens,
            eos_token_id=chat.tokenizer.eos_token_id,
            pad_token_id=chat.tokenizer.pad_token_id,
        )
    end = chat.tokenizer.eos_token_id
    answers = [ids.tolist() for ids in ids_BT[:, encoded["input_ids"].shape[1] :]]
    return [Answer(str(chat.tokenizer.decode(ids, skip_special_tokens=True)).strip(), end in ids) for ids in answers]


def answered(prompt: list[Message], answer: str) -> list[Message]:
    """The conversation with the answer."""
    return [*prompt, {"role": "assistant", "content": answer}]
