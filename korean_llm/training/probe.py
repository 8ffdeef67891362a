"""What is measured again and again during training: a little hold-out text per language, and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from korean_llm.corpus.documents import holdout_texts
from korean_llm.errors import KoreanLLMError
from korean_llm.measure.bits import bits_per_byte
from korean_llm.modeling.trainable import Model
from korean_llm.recipe import PretrainingSettings

_SAMPLE_TOKENS = 24
_BYTES = 4_000
_RULED_BYTES = 40_000  # where a rule acts on the figures, they are taken from more text


class Probe:
    """Measures a model as it is now, on the same texts and prompts every time."""

    def __init__(self, settings: PretrainingSettings, corpus: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """corpus: corpus artifact, whose hold-out is cut to some kilobytes per language.

        Raises KoreanLLMError where a rule of the recipe watches a language of which no text is held out.
        """
        rules = {"stop_if": settings.stop_if, "slow_if": settings.slow_if}
        ruled = any(rules.values())
        self.tokenizer, self.prompts = tokenizer, settings.sample_prompts
        self.texts = holdout_texts(corpus, _RULED_BYTES if ruled else _BYTES)
        for name, rule in rules.items():
            for language in rule.limits if rule else ():
                if language not in self.texts:
                    raise KoreanLLMError(
                        f"pretraining.{name} watches bits per byte of {language!r}, but no such text is held out, only"
                        f" {', '.join(map(repr, self.texts)) or 'none'}; add a source of it to corpus.sources."
                    )

    def measure(self, model: Model) -> dict[str, Any]:
        """{"<language>_bits_per_byte": …, "samples": [...]}."""
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
            figures: dict[str, Any] = {
                f"{language}_bits_per_byte": round(bits_per_byte(model, self.tokenizer, texts).per_byte, 4)
                for language, texts in self.texts.items()
            }
            if self.prompts:
                figures["samples"] = [sample(model, self.tokenizer, prompt) for prompt in self.prompts]
        return figures


@torch.inference_mode()
def sample(model: Model, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """A greedy continuation of a prompt."""
    encoded = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(model.device)
    training = model.training
    model.eval()
    ids_1T = model.generate(  # type: ignore[operator]
        **encoded, max_new_tokens=_SAMPLE_TOKENS, do_sample=False, pad_token_id=tokenizer.eos_token_id
    )
    model.train(training)
    text = tokenizer.decode(ids_1T[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    return str(text).rstrip("\ufffd")  # the last syllable may not be whole yet
