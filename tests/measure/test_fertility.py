"""Fertility on a tokenizer whose tokens can be counted by hand: one token a byte."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from korean_llm.measure.fertility import Fertility, fertility


@pytest.fixture(scope="module")
def one_byte_a_token() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({piece: id for id, piece in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def test_counts_tokens_eojeols_and_bytes(one_byte_a_token: PreTrainedTokenizerFast) -> None:
    found = fertility(one_byte_a_token, ["나는 간다.", "ab"])
    assert found == Fertility(tokens=16, eojeols=3, bytes=16)
    assert found.tokens_per_eojeol == pytest.approx(16 / 3)
    assert found.bytes_per_token == 1.0


def test_many_texts_add_up(one_byte_a_token: PreTrainedTokenizerFast) -> None:
    texts = [f"{'가' * (i % 7)} {i}" for i in range(200)]
    parts = [fertility(one_byte_a_token, [text]) for text in texts]
    assert fertility(one_byte_a_token, iter(texts)) == sum(parts, Fertility())


def test_no_text_is_no_division_by_zero(one_byte_a_token: PreTrainedTokenizerFast) -> None:
    assert fertility(one_byte_a_token, []).tokens_per_eojeol == 0.0
    assert Fertility().bytes_per_token == 0.0
