"""The proof passes for a good extension and stops at every kind of bad one, showing the counter-example."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import holds_hangul_bytes
from korean_llm.vocabulary.byte_level import bytes_piece, piece_bytes, tokenizer_state
from korean_llm.vocabulary.prove import Prover
from tests.vocabulary.conftest import NEW_TOKENS, Extension
from tests.vocabulary.tiny import ENGLISH, SPECIALS, korean_documents

TEXTS = [*ENGLISH, *korean_documents()]


def spoiled(extension: Extension, spoil: Callable[[dict[str, Any]], None]) -> PreTrainedTokenizerBase:
    """The extended tokenizer after one change to its tokenizer.json."""
    return changed(extension.extended, spoil)


def changed(tokenizer: PreTrainedTokenizerBase, change: Callable[[dict[str, Any]], None]) -> PreTrainedTokenizerBase:
    state = tokenizer_state(tokenizer)
    change(state)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), bos_token=SPECIALS[0], eos_token=SPECIALS[1]
    )


def test_a_good_extension_is_proved(extension: Extension) -> None:
    prover = Prover(extension.base, extension.extended, extension.merges)
    prover.entries()
    prover.tokens()
    prover.texts(TEXTS)
    proof = prover.proof
    assert (proof.texts, proof.texts_without_hangul) == (len(TEXTS), len(ENGLISH))
    assert proof.segments_without_hangul > len(ENGLISH)
    assert proof.complete_tokens + proof.partial_tokens == NEW_TOKENS
    assert proof.partial_tokens > 0
    assert 0 < proof.tokens_in_use <= NEW_TOKENS
    assert proof.changed_ids_without_hangul == 0


def join_z_and_q(state: dict[str, Any]) -> None:
    """A merge that fires in English."""
    state["model"]["vocab"]["zq"] = max(state["model"]["vocab"].values()) + 1
    state["model"]["merges"].append(["z", "q"])


@pytest.mark.parametrize("text", ["the word zqzq", "한글 한 줄\nthe word zqzq\n또 한 줄", "한글 the word zqzq글"])
def test_a_changed_word_without_hangul_is_found_and_shown(extension: Extension, text: str) -> None:
    prover = Prover(extension.base, spoiled(extension, join_z_and_q), extension.merges)
    with pytest.raises(KoreanLLMError, match="'zq' under id"):
        prover.entries()
    with pytest.raises(KoreanLLMError) as caught:
        prover.texts([*TEXTS, text])
    message = str(caught.value)
    assert "the word zqzq" in message
    assert "'zq'" in message
    assert f" {len(extension.extended)}" in message


def test_korean_cut_otherwise_than_the_base_does_is_found(extension: Extension) -> None:
    """English keeps its ids and every text decodes the same, but one of the base's own Korean merges is lost."""

    def spoil(state: dict[str, Any]) -> None:
        merges = state["model"]["merges"]
        old = range(len(merges) - NEW_TOKENS)
        merges.pop(next(i for i in old if holds_hangul_bytes(piece_bytes("".join(merges[i])))))

    with pytest.raises(KoreanLLMError, match="taken apart"):
        Prover(extension.base, spoiled(extension, spoil), extension.merges).texts(TEXTS)


def test_a_token_out_of_reach_is_found(extension: Extension) -> None:
    def spoil(state: dict[str, Any]) -> None:
        state["model"]["merges"].pop(-1)

    prover = Prover(extension.base, spoiled(extension, spoil), extension.merges)
    with pytest.raises(KoreanLLMError) as caught:
        prover.tokens()
    assert "cannot be reached" in str(caught.value)
    assert repr(bytes_piece(extension.merges[-1].raw)) in str(caught.value)


def test_a_moved_special_token_is_found(extension: Extension) -> None:
    prover = Prover(extension.base, extension.base, extension.merges)
    with pytest.raises(KoreanLLMError, match="expected"):
        prover.entries()
    other = PreTrainedTokenizerFast(
        tokenizer_object=extension.extended.backend_tokenizer, bos_token=SPECIALS[0], eos_token=SPECIALS[2]
    )
    with pytest.raises(KoreanLLMError, match="eos_token_id"):
        Prover(extension.base, other, extension.merges).entries()


def test_wrong_constituents_are_found(extension: Extension) -> None:
    wrong = [replace(merge, base_ids=[*merge.base_ids, 5]) for merge in extension.merges]
    with pytest.raises(KoreanLLMError, match="taken apart"):
        Prover(extension.base, extension.extended, wrong).texts(TEXTS)


def test_a_replacement_character_in_the_text_is_no_counter_example(extension: Extension) -> None:
    prover = Prover(extension.base, extension.extended, extension.merges)
    prover.texts(["깨진 글자 \ufffd", "\ufffd", "", "가\ufffd나"])
    assert prover.proof.texts == 4


def test_text_that_decodes_otherwise_is_found(extension: Extension) -> None:
    extended = spoiled(extension, lambda state: None)
    extended.backend_tokenizer.decoder = Fuse()
    with pytest.raises(KoreanLLMError, match="a text decodes otherwise\n"):
        Prover(extension.base, extended, extension.merges).texts(TEXTS)


def test_text_that_streams_otherwise_is_found(extension: Extension) -> None:
    """A decoder that rewrites text across tokens takes back what a stream has already shown."""
    odd = {"type": "Replace", "pattern": {"String": "고 나"}, "content": "?"}

    def change(state: dict[str, Any]) -> None:
        state["decoder"] = {"type": "Sequence", "decoders": [state["decoder"], odd]}

    base, extended = changed(extension.base, change), changed(extension.extended, change)
    with pytest.raises(KoreanLLMError, match="token by token"):
        Prover(base, extended, extension.merges).texts(["저녁을 먹고 나서"])


def test_truncation_set_in_a_tokenizer_does_not_hide_text(extension: Extension) -> None:
    def truncate(state: dict[str, Any]) -> None:
        state["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}

    def spoil(state: dict[str, Any]) -> None:
        truncate(state)
        join_z_and_q(state)

    prover = Prover(changed(extension.base, truncate), spoiled(extension, spoil), extension.merges)
    with pytest.raises(KoreanLLMError, match="zqzq"):
        prover.texts(["a rather long text that ends in zqzq"])


def test_padding_set_in_a_tokenizer_does_not_disturb_the_proof(extension: Extension) -> None:
    def pad(state: dict[str, Any]) -> None:
        values = {
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 1,
            "pad_type_id": 0,
            "pad_token": "<|end|>",
        }
        state["padding"] = {"strategy": "BatchLongest", **values}

    prover = Prover(changed(extension.base, pad), changed(extension.extended, pad), extension.merges)
    prover.texts(TEXTS)
    assert prover.proof.texts == len(TEXTS)
