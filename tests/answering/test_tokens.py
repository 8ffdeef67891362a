"""Tokens are drawn so that they can be read: nothing is lost or U+FFFD, and the numbers are the tokenizer's."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from korean_llm.answering.tokens import MAX_CHARS, cut

TEXTS = ["안녕하세요, 여러분.", "漢字와 emoji 👍🏽 그리고 한", "값 = f(x)  # 주석\n\t끝", "Hello", "", "   ", "뷁쀍꿟"]


@pytest.mark.parametrize("text", TEXTS)
def test_chips_are_the_text_and_parts_are_its_bytes(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    found = cut(tokenizer, text)
    assert "".join(chip.text for chip in found.chips) == text
    assert "\ufffd" not in "".join(chip.text for chip in found.chips)
    assert sum(len(chip.parts) or 1 for chip in found.chips) == found.num_tokens
    assert found.num_tokens == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    for chip in found.chips:
        assert not chip.parts or b"".join(chip.parts) == chip.text.encode()
    assert (found.num_bytes, found.num_eojeols) == (len(text.encode()), len(text.split()))


def test_figures(tokenizer: PreTrainedTokenizerFast) -> None:
    found = cut(tokenizer, "하나 둘 셋")
    assert found.fertility == found.num_tokens / 3
    assert found.bytes_per_token == 14 / found.num_tokens
    assert cut(tokenizer, "").fertility == cut(tokenizer, "").bytes_per_token == 0


def test_a_long_text_is_cut_off(tokenizer: PreTrainedTokenizerFast) -> None:
    assert sum(len(chip.text) for chip in cut(tokenizer, "a" * (MAX_CHARS + 50)).chips) == MAX_CHARS
