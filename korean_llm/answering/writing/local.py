"""A language model in this process: the run's own, or another folder, with or without an adapter.

Shapes: B batch (1), T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from korean_llm.answering.answer import Sampling
from korean_llm.answering.writing.fingerprint import model_fingerprint
from korean_llm.answering.writing.generate import GREEDY, checked_sampling
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.answering.writing.stream import AnswerStream, TokenBytes
from korean_llm.chat import Chat, Message, open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer

MAX_NEW_TOKENS = {"cuda": 512, "cpu": 128}
MAX_PROMPT_TOKENS = {"cuda": 3_072, "cpu": 1_024}
"""By device: on a CPU a longer prompt would keep the reader waiting for minutes."""

NO_REPEAT_TOKENS = 16
"""A run of this many tokens is not said twice: greedy decoding of small models ends in loops."""

READ_TOKENS = 256
"""On a CPU a prompt is read in parts of this many tokens, so that reading it can be stopped, too."""


class LocalModel:
    """A checkpoint in this process, with the template it was tuned with. One answer at a time, or several in turn."""

    def __init__(
        self,
        model: PreTrainedModel,
        chat: Chat,
        *,
        name: str = "",
        fingerprint: str = "",
        adapter_fingerprint: str = "",
    ) -> None:
        """name, fingerprint, adapter_fingerprint: as Generator says; "" for a model that came from no folder."""
        self.model, self.chat = model.eval(), chat
        self.name, self.fingerprint, self.adapter_fingerprint = name, fingerprint, adapter_fingerprint
        self.tokenizer = chat.tokenizer
        self.context = int(getattr(model.config, "max_position_embeddings", 2_048))
        device = "cuda" if model.device.type == "cuda" else "cpu"
        self.max_new_tokens = min(MAX_NEW_TOKENS[device], self.context // 2)
        self.budget = min(MAX_PROMPT_TOKENS[device], self.context - self.max_new_tokens)
        self._part = READ_TOKENS if device == "cpu" else self.context
        self._bytes = TokenBytes(self.tokenizer)
        self._ends = _end_tokens(model, self.tokenizer)

    @classmethod
    def open(cls, place: ModelPlace, machine: Machine) -> LocalModel:
        """Load a model; with machine.four_bit its linear layers are held in 4-bit NF4.

        Raises KoreanLLMError where an adapter was tuned with another chat template, or 4 bits are asked for on a CPU.
        """
        if machine.four_bit and machine.torch_device().type != "cuda":
            raise KoreanLLMError("--four-bit needs a GPU, and this machine runs on the CPU; leave the option out.")
        model: Any = load_model(place.model, machine, quantized=machine.four_bit)
        chat = open_chat(load_tokenizer(place.adapter or place.model))
        if place.adapter is not None:
            chat.check_kept_with(place.adapter)
            model = PeftModel.from_pretrained(model, place.adapter)
        return cls(
            model,
            chat,
            name=str(place.adapter or place.model),
            fingerprint=model_fingerprint(place.model, four_bit=machine.four_bit),
            adapter_fingerprint=model_fingerprint(place.adapter) if place.adapter else "",
        )

    def measure(self, messages: list[Message]) -> int:
        """Tokens of the conversation up to where the assistant begins to speak."""
        return len(self._encode(messages))

    def generate(
        self, messages: list[Message], sampling: Sampling = GREEDY, stop: Event | None = None
    ) -> Iterator[str]:
        """The answer in whole syllables until it ends, a stop string comes, or its tokens are used up.

        One seed and temperature say the same on one machine. Raises KoreanLLMError for settings that mean nothing.
        """
        stream = AnswerStream(checked_sampling(sampling).stop)
        for token in self._tokens(self._encode(messages), sampling, stop):
            yield stream.feed(self._bytes[token])
            if stream.ended:
                return
        if rest := stream.finish():
            yield rest

    def _encode(self, messages: list[Message]) -> list[int]:
        spoken = [{**message, "content": self._as_text(message["content"])} for message in messages]
        text = self.chat.render(spoken, answer=True)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _as_text(self, content: str) -> str:
        """The content with names of special tokens broken by a space: a document must not end its own turn."""
        for token in self.tokenizer.all_special_tokens:
            content = content.replace(token, f"{token[:1]} {token[1:]}")
        return content

    def _tokens(self, prompt: list[int], sampling: Sampling = GREEDY, stop: Event | None = None) -> Iterator[int]:
        """Tokens until an end token or the limit, or until the event is set."""
        choice = _Choice(sampling)
        said: list[int] = []
        read, cache = prompt, None
        limit = min(sampling.max_new_tokens or self.max_new_tokens, max(1, self.context - len(prompt)))
        while len(said) < limit and not (stop is not None and stop.is_set()):
            logits_V, cache = self._step(read[: self._part], cache)
            if read := read[self._part :]:
                continue
            token = choice(logits_V, said)
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


class _Choice:
    """The next token by transformers' own rules: the likeliest, or one drawn by the settings' seed alone."""

    def __init__(self, sampling: Sampling) -> None:
        self._rules, self._dice = LogitsProcessorList([NoRepeatNGramLogitsProcessor(NO_REPEAT_TOKENS)]), None
        if sampling.temperature > 0:
            self._dice = torch.Generator().manual_seed(sampling.seed)
            self._rules.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_p < 1:
                self._rules.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, logits_V: torch.Tensor, said: list[int]) -> int:
        if self._dice is None and len(said) < NO_REPEAT_TOKENS:
            return int(logits_V.argmax())
        said_BT: Any = torch.tensor([said], dtype=torch.long, device=logits_V.device)
        scores_V = self._rules(said_BT, logits_V[None].clone())[0]
        if self._dice is None:
            return int(scores_V.argmax())
        return int(torch.multinomial(scores_V.softmax(dim=-1).cpu(), 1, generator=self._dice))


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = {named} if isinstance(named, int) else set(named or ())
    return ends | {tokenizer.eos_token_id}
