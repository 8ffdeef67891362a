"""Before a GGUF file counts as done: it is opened by transformers and by llama.cpp and held against the full model."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.chat import Message
from korean_llm.corpus.documents import holdout_texts
from korean_llm.errors import KoreanLLMError
from korean_llm.export.llama_cpp import LlamaCpp
from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.modeling.load import load_model

Texts = dict[str, list[str]]

_HOLDOUT_BYTES = 4_000
_GENERATED_TOKENS = 16
_PROMPT_TOKENS = 16

# For runs without a corpus, and beside every corpus: what tokenizers most often disagree about.
_BUILT_IN: Texts = {
    "en": [
        "The library opens at nine and closes at six. Please return your books before the end of the month, or ask at"
        " the desk to keep them for another two weeks. Rain is likely tomorrow, so take an umbrella with you."
    ],
    "ko": [
        "도서관은 아침 아홉 시에 열고 저녁 여섯 시에 닫습니다. 빌린 책은 이달 말까지 돌려주시고, 더 읽고 싶으면"
        " 안내대에서 두 주를 늘려 달라고 말씀해 주세요. 내일은 비가 올 듯하니 우산을 챙기는 것이 좋겠습니다."
    ],
}
_ODD_TEXTS = (
    "2024년 3월 15일, 1,234.5원 (range(0,  2024))",
    "이모지 🙂👍🏽👨‍👩‍👧 한자 漢字 日本語 ελληνικά café",
    "\tdef f(x):\n    return x + 1\n\n\n끝  두 칸   세 칸",
    "ㅋㅋㅋ ㅠㅠ 뷁 쀍 don't I'LL",
)
_CHAT: list[Message] = [
    {"role": "user", "content": "안녕하세요?"},
    {"role": "assistant", "content": "네, 안녕하세요."},
    {"role": "user", "content": "고마워요."},
]


def parity_texts(corpus: Path | None) -> Texts:
    """Language → texts to measure with: openings of hold-out documents, or built-in sentences where there are none."""
    return _BUILT_IN | (holdout_texts(corpus, _HOLDOUT_BYTES) if corpus else {})


def measure_model(folder: Path, tokenizer: PreTrainedTokenizerBase, texts: Texts, machine: Machine) -> dict[str, float]:
    """Language → bits per byte of the unquantized model."""
    with console.working("measuring the unquantized model"):
        return _bits(load_model(folder, machine), tokenizer, texts)


def measure_gguf(file: Path, tokenizer: PreTrainedTokenizerBase, texts: Texts, machine: Machine) -> dict[str, float]:
    """Language → bits per byte of a GGUF file as transformers reads it, with the checkpoint's own tokenizer."""
    with console.working(f"measuring {file.name}"):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=machine.dtype(),
            local_files_only=True,
        )
        return _bits(model.to(machine.torch_device()), tokenizer, texts)  # type: ignore[arg-type]


def _bits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Texts) -> dict[str, float]:
    found = {language: bits_per_byte(model, tokenizer, part).per_byte for language, part in texts.items()}
    del model
    gc.collect()
    return found


def rises(reference: dict[str, float], quantized: dict[str, float]) -> dict[str, float]:
    """Language → relative rise of bits per byte; 0.05 means 5 % worse."""
    return {language: quantized[language] / reference[language] - 1 for language in reference}


def check_rise(file: Path, reference: dict[str, float], quantized: dict[str, float], limit: float) -> None:
    """The gate of a quantized file. Raises KoreanLLMError where Korean got worse by more than the limit."""
    rise = rises(reference, quantized)["ko"]
    if math.isfinite(rise) and rise <= limit:
        return
    raise KoreanLLMError(
        f"{file.name} is refused: Korean bits per byte go from {reference['ko']:.3f} to {quantized['ko']:.3f}"
        f" ({rise:+.1%}), and export.max_bits_per_byte_loss allows {limit:.1%}; take a format with more bits, such as"
        " gguf-q8_0, or raise the limit if that loss is acceptable."
    )


def check_llama_cpp(
    xllamacpp: ModuleType, file: Path, tokenizer: PreTrainedTokenizerBase, texts: Texts, machine: Machine
) -> dict[str, Any]:
    """Open the file in llama.cpp: same token ids, same rendered chat, and it generates.

    Returns the number of texts compared and the speed. Raises KoreanLLMError at the first difference.
    """
    with console.working(f"{file.name} in llama.cpp"):
        model = LlamaCpp(xllamacpp, file, machine)
        compared = [*_pieces(texts), *_ODD_TEXTS]
        for text in compared:
            _check_ids(file, text, tokenizer(text, add_special_tokens=False)["input_ids"], model.tokenize(text))
        if tokenizer.chat_template:
            _check_chat(file, tokenizer, model.render(_CHAT))
        prompt = tokenizer(texts["ko"][0], add_special_tokens=False)["input_ids"][:_PROMPT_TOKENS]
        return {"texts_tokenized_alike": len(compared), **model.generate(prompt, _GENERATED_TOKENS)}


def _pieces(texts: Texts) -> Iterable[str]:
    """Each text as a whole, and each of its lines by itself.

    Spaces around a line are left out: SentencePiece tokenizers disagree about a space before the first word, which
    no prompt has.
    """
    for part in texts.values():
        for text in part:
            yield text
            yield from (line.strip() for line in text.splitlines() if line.strip() and line != text)


def _check_ids(file: Path, text: str, wanted: list[int], found: list[int]) -> None:
    if found == wanted:
        return
    pairs = zip(wanted, found, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(wanted), len(found)))
    raise KoreanLLMError(
        f"{file.name}: llama.cpp cuts a text otherwise than the model's tokenizer, at token {place}:"
        f" {wanted[place : place + 8]} became {found[place : place + 8]} in {text[:80]!r}; the file would answer"
        " nonsense, so it is refused: please report the base model and this message."
    )


def _check_chat(file: Path, tokenizer: PreTrainedTokenizerBase, found: str) -> None:
    wanted = str(tokenizer.apply_chat_template(_CHAT, tokenize=False, add_generation_prompt=True))
    # Both engines put BOS before the text where the tokenizer asks for it; a template that writes it is the same chat.
    if found.removeprefix(tokenizer.bos_token or "") != wanted.removeprefix(tokenizer.bos_token or ""):
        raise KoreanLLMError(
            f"{file.name}: llama.cpp renders the chat template otherwise than transformers:"
            f" {wanted!r} became {found!r}; simplify chat_template.jinja in the base folder."
        )
