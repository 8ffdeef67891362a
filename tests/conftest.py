"""Small real models and tokenizers, built in the test process."""

from __future__ import annotations

import os

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gzip
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from korean_llm.machine import Machine

TEXTS = [
    "아침 일찍 장터에 나온 사람들은 따뜻한 국밥을 먹으며 겨울 채소의 값을 물었다.",
    "도서관은 아홉 시에 문을 열고 여섯 시에 닫습니다. 월요일에는 쉽니다.",
    "강가의 버드나무는 봄마다 연둣빛 가지를 늘어뜨리고 물소리를 듣는다.",
    "The library opens at nine and closes at six; it is closed on Mondays.",
    "def add(a, b):\n    return a + b\n",
]

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The CPU, with one worker."""
    return Machine("cpu", 1)


def make_tokenizer(size: int = 420) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the SmolLM2 kind: digits apart, special tokens first, ChatML."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["The quick brown fox jumps over the lazy dog. " * 3, *TEXTS[3:]], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<|endoftext|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )


def make_model(vocabulary: int, *, tied: bool = True, hidden: int = 32, seed: int = 0) -> LlamaForCausalLM:
    """A Llama of two layers with random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config).float()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The small tokenizer, once per session; do not change it."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact folder whose model/ holds the small model and tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    small = make_tokenizer()
    make_model(len(small)).save_pretrained(folder / "model")
    small.save_pretrained(folder / "model")
    return folder


def write_corpus(folder: Path, num_copies: int = 12) -> Path:
    """A corpus artifact: Korean and English documents, two of each held out."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for copy in range(num_copies):
        for number, text in enumerate(TEXTS):
            language = "ko" if number < 3 else "en"
            body = f"{text} {copy + 1}번째 글." if language == "ko" else f"{text} Number {copy + 1}."
            row = {
                "id": f"{copy}-{number}",
                "source": f"prose-{language}",
                "language": language,
                "title": "",
                "text": body,
            }
            rows.append(row)
    held = [row for row in rows if row["id"].startswith("0-")]
    for name, part in (("train", [row for row in rows if row not in held]), ("holdout", held)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
    (folder / "shares.json").write_text('{"prose-ko": 0.7, "prose-en": 0.3}', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus artifact."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))
