"""The tokenizer in GGUF: llama.cpp cuts text and renders chats as our tokenizer does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gguf import GGUFReader, TokenType
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from korean_llm.errors import KoreanLLMError
from korean_llm.export.gguf import write_gguf
from korean_llm.export.llama_cpp import LlamaCpp, bindings
from korean_llm.export.token_table import pre_tokenizer_name, served_template, token_table
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.vocabulary import extend
from tests.export.tiny import CHAT_TEMPLATE, PADDED_ROWS, write_model
from tests.vocabulary.tiny import ENGLISH, base_tokenizer, korean_documents

TEXTS = [
    *korean_documents()[:12],
    *ENGLISH,
    "2024년 3월 15일, 1,234.5원 (range(0,  2024))",
    "이모지 🙂👍🏽👨‍👩‍👧 한자 漢字 日本語 ελληνικά café",
    "\tdef f(x):\n    return x + 1\n\n\n끝  두 칸   세 칸",
    "<|user|>특수 토큰<|end|> 사이의 글",
    "뷁ᄒ\u1161\u11ab 자모 ㄱㄴㄷ 。、〜",
]


@pytest.mark.parametrize("kind", ["smollm", "llama3", "qwen", "llama2"])
def test_llama_cpp_cuts_text_as_the_tokenizer_does(tmp_path: Path, kind: str) -> None:
    folder = write_model(tmp_path / "model", kind)
    write_gguf(folder, tmp_path / "m.gguf", "gguf-q8_0", 1)
    tokenizer = load_tokenizer(folder)
    model = LlamaCpp(bindings(), tmp_path / "m.gguf", Machine("cpu", workers=1))
    compared = [text for text in TEXTS if kind != "qwen" or "\u1161" not in text]  # llama.cpp composes no jamo
    for text in compared:
        assert model.tokenize(text) == tokenizer(text, add_special_tokens=False)["input_ids"], text
    if tokenizer.chat_template:
        chat = [{"role": role, "content": "안녕?\n2024"} for role in ("system", "user", "assistant", "user")]
        wanted = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert model.render(chat) == wanted
    assert model.generate([5, 6, 7], 4)["tokens"] == 4


@pytest.mark.parametrize("kind", ["smollm", "llama3", "qwen", "llama2"])
def test_llama_cpp_cuts_text_as_the_extended_tokenizer_does(tmp_path: Path, kind: str) -> None:
    base = write_model(tmp_path / "model", kind)
    number = 10 if kind == "llama2" else 120  # its base has most of this Korean already
    report = extend(base, korean_documents(), number, tmp_path / "extended", model=base, initialise="mean")
    write_gguf(tmp_path / "extended", tmp_path / "m.gguf", "gguf-q8_0", 1)
    tokenizer = load_tokenizer(tmp_path / "extended")
    model = LlamaCpp(bindings(), tmp_path / "m.gguf", Machine("cpu", workers=1))
    compared = [text for text in TEXTS if kind != "qwen" or "\u1161" not in text]
    first = report["first_id"]
    found = {text: model.tokenize(text) for text in compared}
    assert found == {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in compared}
    assert any(first <= id < first + number for ids in found.values() for id in ids)
    types = token_table(tokenizer, report["rows"]).types
    assert set(types[first : first + number]) == {TokenType.NORMAL}
    assert set(types[first + number :]) == {TokenType.UNUSED}


def test_the_table_says_what_each_row_is(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "qwen")
    tokenizer = load_tokenizer(folder)
    table = token_table(tokenizer, len(tokenizer) + PADDED_ROWS)
    assert len(table.tokens) == len(table.types) == len(tokenizer) + PADDED_ROWS
    kinds = dict(zip(table.tokens, table.types, strict=True))
    assert kinds["<|end|>"] == TokenType.CONTROL
    assert kinds["<think>"] == TokenType.USER_DEFINED
    assert kinds["a"] == TokenType.NORMAL
    assert table.types[-PADDED_ROWS:] == [TokenType.UNUSED] * PADDED_ROWS
    with pytest.raises(KoreanLLMError, match="do not belong together"):
        token_table(tokenizer, len(tokenizer) - 1)


def test_the_file_names_its_special_tokens(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_gguf(folder, tmp_path / "m.gguf", "gguf-q8_0", 1)
    fields, tokenizer = GGUFReader(tmp_path / "m.gguf").fields, load_tokenizer(folder)
    content = {key: field.contents() for key, field in fields.items() if not key.endswith(("tokens", "merges"))}
    assert content["tokenizer.ggml.bos_token_id"] == tokenizer.bos_token_id
    assert content["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert content["tokenizer.ggml.add_bos_token"] is False
    assert content["tokenizer.ggml.pre"] == "smollm"
    assert content["tokenizer.chat_template"] == served_template(CHAT_TEMPLATE)


@pytest.mark.parametrize(("kind", "name"), [("smollm", "smollm"), ("llama3", "llama-bpe")])
def test_pre_tokenizers_are_known_by_what_they_do(kind: str, name: str) -> None:
    state = json.loads(base_tokenizer(kind).backend_tokenizer.to_str())
    assert pre_tokenizer_name(state) == name
    state["model"]["ignore_merges"] = False
    assert pre_tokenizer_name(state) == ("dbrx" if kind == "llama3" else name)


def test_an_unknown_pre_tokenizer_is_refused() -> None:
    tokenizer = base_tokenizer("smollm")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(KoreanLLMError, match="no name for here"):
        token_table(tokenizer, 500)


def test_other_kinds_of_tokenizers_are_refused() -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(KoreanLLMError, match="WordLevel"):
        token_table(words, 1)


def test_generation_marks_are_taken_out_and_nothing_else_changes() -> None:
    tokenizer = base_tokenizer("smollm")
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": " b "}]
    trimming = "x {%- generation -%} {{ messages[1]['content'] }} {%- endgeneration %} y"
    for template in (CHAT_TEMPLATE, trimming):
        served = served_template(template)
        assert "%} generation" not in served and "generation %}" not in served.replace("add_generation_prompt %}", "")
        rendered = [tokenizer.apply_chat_template(chat, chat_template=t, tokenize=False) for t in (template, served)]
        assert rendered[0] == rendered[1]
