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
from korean_llm.hangul import holds_hangul
from korean_llm.vocabulary.prove import Prover
from tests.vocabulary.conftest import NEW_TOKENS, Extension
from tests.vocabulary.tiny import ENGLISH, SPECIALS, korean_documents

TEXTS = [*ENGLISH, *korean_documents()]


def spoiled(extension: Extension, spoil: Callable[[dict[str, Any]], None]) -> PreTrainedTokenizerBase:
    """The extended tokenizer after one change to its tokenizer.json."""
    return changed(extension.extended, spoil)


def changed(tokenizer: PreTrainedTokenizerBase, change: Callable[[dict[str, Any]], None]) -> PreTrainedTokenizerBase:
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    change(state)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), bos_token=SPECIALS[0], eos_token=SPECIALS[1]
    )


def test_a_good_extension_is_proved(extension: Extension) -> None:
    prover = extension.prover()
    prover.entries()
    prover.tokens()
    prover.texts(TEXTS)
    proof = prover.proof
    assert (proof.texts, proof.texts_without_hangul) == (len(TEXTS), len(ENGLISH))
    assert proof.segments_without_hangul > len(ENGLISH)
    assert (proof.partial_tokens > 0) == (extension.kind != "llama")
    assert (proof.twin_texts > len(TEXTS) - 3) == (extension.kind == "llama")
    assert proof.base_changes == 0
    assert 0 < proof.tokens_in_use <= NEW_TOKENS
    assert proof.changed_ids_without_hangul == 0


def join_z_and_q(state: dict[str, Any]) -> None:
    """A merge that fires in English."""
    state["model"]["vocab"]["zq"] = max(state["model"]["vocab"].values()) + 1
    state["model"]["merges"].append(["z", "q"])


@pytest.mark.parametrize("text", ["the word zqzq", "한글 한 줄\nthe word zqzq\n또 한 줄", "한글 the word zqzq글"])
def test_a_changed_word_without_hangul_is_found_and_shown(extension: Extension, text: str) -> None:
    prover = extension.prover(spoiled(extension, join_z_and_q))
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
        raw = (extension.family.entry_bytes("".join(merge)) or b"" for merge in merges)
        first = next(i for i, piece in enumerate(raw) if holds_hangul(piece.decode(errors="ignore")))
        whole = "".join(merges[first])
        merges[:] = [merge for merge in merges if "".join(merge) != whole]

    with pytest.raises(KoreanLLMError, match=r"do not join whole tokens|tokenizer\.model cuts otherwise"):
        extension.prover(spoiled(extension, spoil)).texts(TEXTS)


def test_a_token_out_of_reach_is_found(extension: Extension) -> None:
    def spoil(state: dict[str, Any]) -> None:
        last = extension.family.entry(extension.merges[-1].raw)
        state["model"]["merges"] = [merge for merge in state["model"]["merges"] if "".join(merge) != last]

    prover = extension.prover(spoiled(extension, spoil))
    with pytest.raises(KoreanLLMError) as caught:
        prover.tokens()
    assert "cannot be reached" in str(caught.value)
    assert repr(extension.family.entry(extension.merges[-1].raw)) in str(caught.value)


def test_a_moved_special_token_is_found(extension: Extension) -> None:
    prover = extension.prover(extension.base)
    with pytest.raises(KoreanLLMError, match="expected"):
        prover.entries()
    other = PreTrainedTokenizerFast(
        tokenizer_object=extension.extended.backend_tokenizer, bos_token=SPECIALS[0], eos_token=SPECIALS[2]
    )
    with pytest.raises(KoreanLLMError, match="eos_token_id"):
        extension.prover(other).entries()


def test_a_token_of_other_bytes_is_found(extension: Extension) -> None:
    wrong = [replace(merge, raw=merge.raw + b"x") for merge in extension.merges]
    with pytest.raises(KoreanLLMError, match="do not join whole tokens"):
        extension.prover(merges=wrong).texts(TEXTS)


def test_a_replacement_character_in_the_text_is_no_counter_example(extension: Extension) -> None:
    prover = extension.prover()
    prover.texts(["깨진 글자 \ufffd", "\ufffd", "", "가\ufffd나"])
    assert prover.proof.texts == 4


def test_text_that_decodes_otherwise_is_found(extension: Extension) -> None:
    extended = spoiled(extension, lambda state: None)
    extended.backend_tokenizer.decoder = Fuse()
    with pytest.raises(KoreanLLMError, match="a text decodes otherwise\n"):
        extension.prover(extended).texts(TEXTS)


def test_text_that_only_the_extension_streams_otherwise_is_found(extension: Extension) -> None:
    """Whole texts decode alike; a syllable that stands at the end for a moment only is given out as another."""
    odd = {"type": "Replace", "pattern": {"Regex": "고$"}, "content": "?"}

    def spoil(state: dict[str, Any]) -> None:
        state["decoder"] = {"type": "Sequence", "decoders": [state["decoder"], {"type": "Fuse"}, odd]}

    prover = Prover(extension.family, extension.base, spoiled(extension, spoil), extension.merges, extension.rows)
    with pytest.raises(KoreanLLMError, match="a text decodes otherwise token by token\n") as caught:
        prover.texts(["저녁을 먹고 나서"])
    assert "먹고" in str(caught.value)
    prover.texts(["저녁을 나서"])


def test_text_that_the_base_streams_otherwise_too_is_told_apart(extension: Extension) -> None:
    odd = {"type": "Replace", "pattern": {"String": "고 나"}, "content": "?"}

    def change(state: dict[str, Any]) -> None:
        state["decoder"] = {"type": "Sequence", "decoders": [state["decoder"], {"type": "Fuse"}, odd]}

    base, extended = changed(extension.base, change), changed(extension.extended, change)
    prover = Prover(extension.family, base, extended, extension.merges, extension.rows)
    prover.texts(["저녁을 먹고 나서"])
    assert (prover.proof.base_streams_otherwise, prover.proof.base_changes) == (1, 1)
    assert "고 나" in prover.proof.base_changes_example.encode().decode("unicode_escape")


def test_truncation_set_in_a_tokenizer_does_not_hide_text(extension: Extension) -> None:
    def truncate(state: dict[str, Any]) -> None:
        state["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}

    def spoil(state: dict[str, Any]) -> None:
        truncate(state)
        join_z_and_q(state)

    prover = Prover(
        extension.family, changed(extension.base, truncate), spoiled(extension, spoil), extension.merges, extension.rows
    )
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

    prover = Prover(
        extension.family,
        changed(extension.base, pad),
        changed(extension.extended, pad),
        extension.merges,
        extension.rows,
    )
    prover.texts(TEXTS)
    assert prover.proof.texts == len(TEXTS)
