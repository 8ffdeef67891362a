"""The reward model at work: one score for each conversation. B conversations, T tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from korean_llm.chat import Chat, Message, open_chat
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.training.tuning import separate_pad

_BATCH = 8


def load_scoring_model(folder: Path, machine: Machine) -> PreTrainedModel:
    """The model of a checkpoint folder with one score in place of its head; the score's weights are random."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=1,
        dtype=machine.dtype(),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    return model.to(machine.torch_device())  # type: ignore[arg-type]


class Judge:
    """A reward model, open."""

    def __init__(self, model: PeftModel, chat: Chat) -> None:
        self.model, self.chat = model.eval(), chat

    @classmethod
    def open(cls, base: Path, adapter: Path, machine: Machine) -> Judge:
        """The reward adapter on its base. Raises KoreanLLMError where its template is not the one it learned with."""
        chat = open_chat(load_tokenizer(adapter))
        chat.check_kept_with(adapter)
        separate_pad(chat.tokenizer)
        model = load_scoring_model(base, machine)
        model.config.pad_token_id = chat.tokenizer.pad_token_id
        return cls(PeftModel.from_pretrained(model, str(adapter)), chat)

    @torch.inference_mode()
    def score(self, conversations: list[list[Message]]) -> list[float]:
        """The score of each conversation's last answer; higher is better, and only differences mean something."""
        scores: list[float] = []
        for start in range(0, len(conversations), _BATCH):
            ids = [self.chat.encode(messages)[0] for messages in conversations[start : start + _BATCH]]
            batch_BT: Any = self.chat.tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt")
            logits = self.model(**batch_BT.to(self.model.device)).logits
            scores += [float(score) for score in logits[:, 0]]
        return scores
