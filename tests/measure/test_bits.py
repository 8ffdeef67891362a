"""Bits per byte: against a slow reference, by hand on uniform models, and whatever the order and the cut."""

from __future__ import annotations

import math
import random

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from korean_llm.measure.bits import Bits, bits_per_byte, start_token, windows
from tests.conftest import TEXTS, make_model
from tests.reference.bits import bits


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Weights far enough from zero that every token has a probability of its own."""
    small = make_model(len(tokenizer), tied=False)
    torch.manual_seed(4)
    for parameter in small.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return small


# ---- against the reference


def test_equals_the_sum_over_tokens_one_by_one(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        expected.append(bits(model, tokenizer.bos_token_id, ids))
        found = bits_per_byte(model, tokenizer, [text])
        assert found.bits == pytest.approx(expected[-1], rel=1e-5)
        assert (found.bytes, found.tokens) == (len(text.encode()), len(ids))
        assert found.per_byte == pytest.approx(expected[-1] / len(text.encode()), rel=1e-5)
    assert len({round(value) for value in expected}) == len(TEXTS), "the texts differ"
    assert bits_per_byte(model, tokenizer, TEXTS).bits == pytest.approx(sum(expected), rel=1e-5)


def test_a_window_knows_nothing_of_the_one_before(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    text = " ".join(TEXTS)
    parts = windows([text], 50)
    assert len(parts) > 4
    alone = [bits_per_byte(model, tokenizer, [part]) for part in parts]
    found = bits_per_byte(model, tokenizer, [text], window_chars=50)
    assert found.bits == pytest.approx(sum(part.bits for part in alone), rel=1e-6)
    assert found.tokens == sum(part.tokens for part in alone)
    assert found.bytes == len(text.encode())
    whole = bits_per_byte(model, tokenizer, [text], window_chars=10_000)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert whole.bits == pytest.approx(bits(model, tokenizer.bos_token_id, ids), rel=1e-5)
    assert whole.bits != pytest.approx(found.bits, rel=1e-3), "context counts"


def test_neither_order_nor_company_counts(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    one_by_one = [bits_per_byte(model, tokenizer, [text]) for text in TEXTS]
    for seed in range(3):
        shuffled = random.Random(seed).sample(TEXTS, len(TEXTS))
        found = bits_per_byte(model, tokenizer, iter(shuffled))
        assert found.bits == pytest.approx(sum(part.bits for part in one_by_one), rel=1e-6)
        assert found.bytes == sum(part.bytes for part in one_by_one)


def test_a_model_in_training_is_measured_without_dropout_and_left_in_training(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    expected = bits_per_byte(model.eval(), tokenizer, TEXTS)
    assert not model.training
    assert bits_per_byte(model.train(), tokenizer, TEXTS) == expected
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


# ---- by hand


LETTERS = "abcdefghijklmno"


def tokenizer_of(size: int, *, pairs: bool) -> PreTrainedTokenizerFast:
    """One letter a token, or two; filled up to `size` tokens with some that no text holds."""
    pieces = [one + other for one in LETTERS for other in LETTERS] if pairs else []
    names = ["<s>", *LETTERS, *pieces]
    names += [f"<unused{number}>" for number in range(size - len(names))]
    vocabulary = {name: number for number, name in enumerate(names)}
    backend = Tokenizer(models.BPE(vocabulary, [(piece[0], piece[1]) for piece in pieces]))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("[a-o]{2}"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


def uniform(vocabulary: int) -> LlamaForCausalLM:
    """A model to which every token is equally likely."""
    model = make_model(vocabulary, tied=False)
    torch.nn.init.zeros_(model.lm_head.weight)
    return model


def test_two_tokenizers_of_equal_power_give_equal_bits_per_byte() -> None:
    """16 tokens of one letter need log2 16 = 4 bits a byte; 256 of two letters need log2 256 / 2 = 4 as well."""
    letters, pairs = tokenizer_of(16, pairs=False), tokenizer_of(256, pairs=True)
    text = "".join(random.Random(1).choices(LETTERS, k=2_400))
    found = [bits_per_byte(uniform(size), kind, [text]) for size, kind in ((16, letters), (256, pairs))]
    assert [part.tokens for part in found] == [2_400, 1_200]
    assert [part.bytes for part in found] == [2_400, 2_400]
    assert [part.per_byte for part in found] == [pytest.approx(4, rel=1e-6)] * 2


def test_a_korean_syllable_is_three_bytes(tokenizer: PreTrainedTokenizerFast) -> None:
    found = bits_per_byte(uniform(len(tokenizer)), tokenizer, ["한국어"])
    assert found.bytes == 9
    assert found.bits == pytest.approx(found.tokens * math.log2(len(tokenizer)), rel=1e-6)


def test_a_model_that_is_sure_of_one_token_pays_for_the_others() -> None:
    """The head's only row that is not zero is that of `a`: logit s, the other fifteen 0."""
    tokenizer, model = tokenizer_of(16, pairs=False), uniform(16)
    a = tokenizer.convert_tokens_to_ids("a")
    with torch.no_grad():
        model.model.norm.weight.zero_()
        model.model.norm.register_forward_hook(lambda module, inputs, output: torch.ones_like(output))
        model.lm_head.weight[a] = 5 / model.config.hidden_size
    log_z = math.log2(math.exp(5) + 15)
    bits_a, bits_other = log_z - 5 / math.log(2), log_z
    assert bits_per_byte(model, tokenizer, ["aaaa"]).per_byte == pytest.approx(bits_a, rel=1e-5)
    assert bits_per_byte(model, tokenizer, ["abab"]).per_byte == pytest.approx((bits_a + bits_other) / 2, rel=1e-5)
    assert bits_per_byte(model, tokenizer, ["b"]).per_byte == pytest.approx(bits_other, rel=1e-5), "the first counts"


def test_no_text_is_no_division_by_zero(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    assert bits_per_byte(model, tokenizer, []) == bits_per_byte(model, tokenizer, [""]) == Bits(0.0, 0, 0)
    assert Bits(0.0, 0, 0).per_byte == 0.0


# ---- windows and the first token


def test_windows_lose_nothing_and_are_cut_at_spaces() -> None:
    source = random.Random(3)
    for _ in range(500):
        texts = ["".join(source.choices("가나다a  \n", k=source.randrange(80))) for _ in range(3)]
        size = source.randrange(1, 30)
        parts = windows(texts, size)
        assert "".join(parts) == "".join(texts)
        assert all(0 < len(part) <= size for part in parts)
    assert windows(["하나 둘 셋 넷"], 5) == ["하나 둘", " 셋 넷"]
    assert windows(["가나다라마바사"], 3) == ["가나다", "라마바", "사"]
    assert windows(["짧다", "글"], 10) == ["짧다", "글"], "texts are not joined"


def test_the_first_token_is_bos_else_eos_else_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    backend = tokenizer.backend_tokenizer
    assert start_token(tokenizer) == tokenizer.bos_token_id != tokenizer.eos_token_id
    only_eos = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
    assert start_token(only_eos) == only_eos.eos_token_id == 0
    with pytest.raises(ValueError, match="neither a BOS nor an EOS"):
        start_token(PreTrainedTokenizerFast(tokenizer_object=backend))
