"""The one chat template of a model: render with it, mask the loss with it, and know it by its hash.

Serving with another template than the one trained with is the commonest way to ruin a tuned model. The hash is
taken over rendered text, not over the template's source: two templates that render alike are the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korean_llm.errors import KoreanLLMError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]

TEMPLATE = "template.json"
"""Beside an adapter: what its chat template rendered when it was trained."""

_GENERATION = "{% generation %}"

# For base models without a template: plain text and the model's own EOS, so that no token has to be added.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### 질문:\\n' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ '### 답변:\\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{{ '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### 답변:\\n' }}{% endif %}"
)

# ChatML with the answers marked; SYSTEM is where the base's own default system message goes.
_CHATML = (
    "{% for message in messages %}SYSTEM"
    "{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\\n' }}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_DEFAULT_SYSTEM = (
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nTEXT<|im_end|>\\n' }}{% endif %}"
)

_PROBES: tuple[list[Message], ...] = (
    [{"role": "user", "content": "안녕하세요?"}, {"role": "assistant", "content": "네, 안녕하세요."}],
    [
        {"role": "system", "content": "짧게 답하세요."},
        {"role": "user", "content": "1+1은?"},
        {"role": "assistant", "content": "2입니다."},
        {"role": "user", "content": "고마워요."},
        {"role": "assistant", "content": "천만에요."},
    ],
)


@dataclass(frozen=True)
class Chat:
    """A tokenizer with its template.

    Attributes:
        tokenizer: its chat_template is the one that is published and served.
        training_template: renders the same text and marks what the assistant says.
    """

    tokenizer: PreTrainedTokenizerBase
    training_template: str

    def render(self, messages: list[Message], *, answer: bool = False) -> str:
        """The conversation as text; answer=True ends it where the assistant begins to speak."""
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer)
        return str(text)

    @property
    def sha256(self) -> str:
        """SHA-256 of the probe conversations as rendered."""
        rendered = "\x00".join(self.render(probe) for probe in _PROBES)
        return hashlib.sha256(rendered.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What is kept with an adapter: the hash, and one rendered probe for people."""
        return {"sha256": self.sha256, "rendered": self.render(_PROBES[0])}

    def encode(self, messages: list[Message]) -> tuple[list[int], list[int]]:
        """Token ids of a conversation and, per token, 1 where the assistant speaks."""
        encoded: Any = self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.training_template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        return list(encoded["input_ids"]), list(encoded["assistant_masks"])

    def measure(self, messages: list[Message], place: str) -> int:
        """Tokens of a conversation; one that ends with the user is measured to where the assistant begins to speak.

        Raises KoreanLLMError, naming the place, where an answer would be learned without its end token, or not at all.
        """
        if messages[-1]["role"] != "assistant":
            return len(self.tokenizer(self.render(messages, answer=True), add_special_tokens=False)["input_ids"])
        ids, mask = self.encode(messages)
        answers = sum(message["role"] == "assistant" for message in messages)
        ends = [
            token for token, spoken, goes_on in zip(ids, mask, [*mask[1:], 0], strict=True) if spoken and not goes_on
        ]
        if len(ends) != answers:
            raise KoreanLLMError(
                f"{place}: the chat template marks {len(ends)} of {answers} answers to learn from; mend the template,"
                " or take the row out."
            )
        if any(token != self.tokenizer.eos_token_id for token in ends):
            raise KoreanLLMError(
                f"{place}: the chat template does not end every answer with the end token"
                f" {self.tokenizer.eos_token!r}, so a tuned model would never stop; mend the template."
            )
        return len(ids)

    def check_kept_with(self, adapter: Path) -> None:
        """Raises KoreanLLMError where the template renders otherwise than the one the adapter was trained with."""
        note = adapter / TEMPLATE
        if note.exists() and json.loads(note.read_text(encoding="utf-8"))["sha256"] != self.sha256:
            raise KoreanLLMError(
                f"the chat template in {adapter} renders otherwise than the one the adapter was trained with; restore"
                " chat_template.jinja, or tune the adapter again."
            )


def open_chat(tokenizer: PreTrainedTokenizerBase) -> Chat:
    """The chat template of a tokenizer; a base model without one gets the plain template.

    Raises KoreanLLMError where the template marks no answers and is of no known shape.
    """
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    template = str(tokenizer.chat_template)
    if _GENERATION in template:
        return Chat(tokenizer, template)
    for candidate in _chatml_candidates(tokenizer):
        if _renders_alike(tokenizer, candidate):
            return Chat(tokenizer, candidate)
    raise KoreanLLMError(
        "the model's chat template does not mark the assistant's words with {% generation %}, and it is not ChatML;"
        " put a chat_template.jinja that marks them into the base folder."
    )


def _chatml_candidates(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """ChatML without a default system message, and with the one the tokenizer's own template puts in."""
    bare = _CHATML.replace("SYSTEM", "")
    rendered = str(tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False))
    start, end = "<|im_start|>system\n", "<|im_end|>\n"
    if not rendered.startswith(start) or end not in rendered:
        return [bare]
    system = rendered[len(start) : rendered.index(end)]
    quoted = system.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return [bare, _CHATML.replace("SYSTEM", _DEFAULT_SYSTEM.replace("TEXT", quoted))]


def _renders_alike(tokenizer: PreTrainedTokenizerBase, candidate: str) -> bool:
    """Whether a candidate renders every probe, finished or not, as the tokenizer's own template does."""
    for probe in _PROBES:
        for messages, answer in ((probe, False), (probe[:-1], True)):
            options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": answer}
            own = tokenizer.apply_chat_template(messages, **options)
            if tokenizer.apply_chat_template(messages, chat_template=candidate, **options) != own:
                return False
    return True
