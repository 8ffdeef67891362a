"""Text from a language model, piece by piece: the interface, and the run's own model in this process.

Shapes: B batch (1), T tokens, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel
from transformers import NoRepeatNGramLogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from korean_llm.answering.stream import SyllableStream, TokenBytes
from korean_llm.artifact import load_manifest
from korean_llm.chat import Chat, Message, open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer

MAX_NEW_TOKENS = {"cuda": 512, "cpu": 128}
MAX_PROMPT_TOKENS = {"cuda": 3_072, "cpu": 1_024}
"""By device: on a CPU a longer prompt would keep the reader waiting for minutes."""

NO_REPEAT_TOKENS = 16
"""A run of this many tokens is not said twice: greedy decoding of small models ends in loops."""


class Generator(Protocol):
    """A model that continues a conversation.

    Attributes:
        budget: what a prompt may measure.
    """

    budget: int

    def measure(self, messages: list[Message]) -> int:
        """Length of a conversation, in the unit of the budget."""

    def generate(self, messages: list[Message]) -> Iterator[str]:
        """The answer in whole syllables, "" where a step completed none; leave the iterator to stop it.

        Raises KoreanLLMError.
        """


@dataclass(frozen=True)
class ModelPlace:
    """Where a run's best model lies: a checkpoint folder, and an adapter on it or None."""

    model: Path
    adapter: Path | None = None


def find_model(run_folder: Path) -> ModelPlace | None:
    """The run's most finished model: exported, else tuned, else pretrained, extended or the base; None without any."""
    for stage in ("export", "online", "preference", "instruction", "pretraining", "vocabulary", "base"):
        folder = run_folder / stage
        if load_manifest(folder) is None:
            continue
        if (folder / "adapter").exists():
            return _tuned(folder / "adapter")
        if (folder / "model" / "config.json").exists():
            return ModelPlace(folder / "model")
    return None


def _tuned(adapter: Path) -> ModelPlace:
    """An adapter and the base that it names, relative to itself."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    base = (adapter / config["base_model_name_or_path"]).resolve()
    if not (base / "config.json").exists():
        raise KoreanLLMError(f"the adapter {adapter} stands on {base}, which is missing; run its recipe again.")
    return ModelPlace(base, adapter)


class LocalModel:
    """A checkpoint in this process, decoded greedily with the template it was tuned with."""

    def __init__(self, model: PreTrainedModel, chat: Chat) -> None:
        self.model, self.chat = model.eval(), chat
        self.tokenizer = chat.tokenizer
        context = int(getattr(model.config, "max_position_embeddings", 2_048))
        device = "cuda" if model.device.type == "cuda" else "cpu"
        self.max_new_tokens = min(MAX_NEW_TOKENS[device], context // 2)
        self.budget = min(MAX_PROMPT_TOKENS[device], context - self.max_new_tokens)
        self._bytes = TokenBytes(self.tokenizer)
        self._ends = _end_tokens(model, self.tokenizer)
        self._rule = NoRepeatNGramLogitsProcessor(NO_REPEAT_TOKENS)

    @classmethod
    def open(cls, place: ModelPlace, machine: Machine) -> LocalModel:
        """Load a model. Raises KoreanLLMError where an adapter was tuned with another chat template."""
        model: Any = load_model(place.model, machine)
        chat = open_chat(load_tokenizer(place.adapter or place.model))
        if place.adapter is not None:
            chat.check_kept_with(place.adapter)
            model = PeftModel.from_pretrained(model, place.adapter)
        return cls(model, chat)

    def measure(self, messages: list[Message]) -> int:
        """Tokens of the conversation up to where the assistant begins to speak."""
        return len(self._encode(messages))

    def generate(self, messages: list[Message]) -> Iterator[str]:
        """The answer in whole syllables, up to max_new_tokens."""
        stream = SyllableStream()
        for token in self._tokens(self._encode(messages)):
            yield stream.feed(self._bytes[token])
        if rest := stream.finish():
            yield rest

    def _encode(self, messages: list[Message]) -> list[int]:
        text = self.chat.render(messages, answer=True)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _tokens(self, prompt: list[int]) -> Iterator[int]:
        """Greedy tokens until an end token or the limit."""
        said: list[int] = []
        read, cache = prompt, None
        while len(said) < self.max_new_tokens:
            logits_V, cache = self._step(read, cache)
            token = self._choose(logits_V, said)
            if token in self._ends:
                return
            said.append(token)
            yield token
            read = [token]

    @torch.inference_mode()
    def _step(self, read: list[int], cache: Any) -> tuple[torch.Tensor, Any]:
        """Scores of the next token, (V,), after reading some more."""
        ids_BT = torch.tensor([read], device=self.model.device)
        out = self.model(input_ids=ids_BT, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[0, -1].float(), out.past_key_values

    def _choose(self, logits_V: torch.Tensor, said: list[int]) -> int:
        if len(said) >= NO_REPEAT_TOKENS:
            said_BT = torch.tensor([said], device=logits_V.device)
            logits_V = self._rule(said_BT, logits_V[None].clone())[0]
        return int(logits_V.argmax())


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = {named} if isinstance(named, int) else set(named or ())
    return ends | {tokenizer.eos_token_id}
