"""Promise 7: no half a syllable, at whatever byte or token the text is cut."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from korean_llm.answering.writing.stream import SyllableStream, TokenBytes
from tests.conftest import TEXTS, make_tokenizer

HANGUL = "값없이 읊조린 뷁, 똠방각하의 햏자! 대한민국은 민주공화국이다."
SAMPLES = [
    HANGUL,
    "이모지 👩‍🔬와 🇰🇷, 😀😃 그리고 漢字·國語學, ｆｕｌｌ, é",
    "코드 `def f(x): return x[0]`와 한글을 섞는다.\n둘째 줄 — “따옴표”",
    unicodedata.normalize("NFD", "각 값 한글 을지로"),
    "",
]
ALL_SYLLABLES = "".join(map(chr, range(0xAC00, 0xD7A4)))


def streamed(pieces: list[bytes]) -> list[str]:
    stream = SyllableStream()
    return [*(stream.feed(piece) for piece in pieces), stream.finish()]


def whole(piece: str) -> bool:
    """Whether a piece neither ends nor begins inside a character or a syllable block of jamo."""
    return "\ufffd" not in piece and not (piece and unicodedata.category(piece[0]) == "Mn")


@pytest.mark.parametrize("text", SAMPLES)
def test_every_split_into_two_and_three(text: str) -> None:
    raw = text.encode()
    for first in range(len(raw) + 1):
        assert "".join(streamed([raw[:first], raw[first:]])) == text
        for second in range(first, len(raw) + 1, 5):
            pieces = streamed([raw[:first], raw[first:second], raw[second:]])
            assert "".join(pieces) == text
            assert all(map(whole, pieces))


@pytest.mark.parametrize("text", [*SAMPLES, ALL_SYLLABLES])
@pytest.mark.parametrize("width", [1, 2, 4, 7])
def test_bytes_in_small_pieces(text: str, width: int) -> None:
    raw = text.encode()
    pieces = streamed([raw[at : at + width] for at in range(0, len(raw), width)])
    assert "".join(pieces) == text
    assert all(map(whole, pieces))


def test_a_decomposed_syllable_comes_whole() -> None:
    text = unicodedata.normalize("NFD", "한글 값을 각각")
    for width in (1, 2, 3, 5):
        raw = text.encode()
        pieces = [piece for piece in streamed([raw[at : at + width] for at in range(0, len(raw), width)]) if piece]
        composed = [unicodedata.normalize("NFC", piece) for piece in pieces]
        assert "".join(composed) == "한글 값을 각각"
        for left, right in pairwise(pieces):
            assert unicodedata.normalize("NFC", left + right) == unicodedata.normalize(
                "NFC", left
            ) + unicodedata.normalize("NFC", right)


def test_unfinished_and_invalid_bytes_are_never_shown() -> None:
    assert "".join(streamed(["한글".encode()[:-1]])) == "한"
    assert "".join(streamed([b"\xed\x95", b"a\xff", "글".encode()])) == "a글"
    assert "".join(streamed(["한\ufffd글".encode()])) == "한글"
    assert "".join(streamed([b"\xed", b"\xed", b"\xed"])) == ""


def test_text_with_lone_surrogates() -> None:
    stream = SyllableStream()
    assert stream.feed_text("한\ud83d") + stream.feed_text("글 \udc00😀") + stream.finish() == "한글 😀"


def korean_byte_level() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose merges stop inside syllables as often as between them."""
    tokenizer = make_tokenizer()
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*TEXTS, HANGUL], trainer)
    grown = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")
    grown.add_tokens(["<덧붙임>"])
    assert len(grown) != len(tokenizer)
    return grown


def byte_fallback() -> PreTrainedTokenizerFast:
    """SentencePiece-style BPE: "▁" for a space, bytes as <0x..>, as in Llama-2 and Mistral."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "국", "은", "▁국"]
    backend = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[("▁", "국")],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("make", [korean_byte_level, byte_fallback])
@pytest.mark.parametrize("text", SAMPLES[:3])
def test_token_by_token(make, text: str) -> None:
    tokenizer = make()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    of = TokenBytes(tokenizer)
    pieces = streamed([of[token] for token in ids])
    assert "".join(pieces).removeprefix(" ") == text
    assert all(map(whole, pieces))
    assert any(of[token].decode("utf-8", "replace").count("\ufffd") for token in ids), "no token is partial"


def test_special_tokens_say_nothing_and_added_ones_themselves() -> None:
    tokenizer = korean_byte_level()
    of = TokenBytes(tokenizer)
    assert of[tokenizer.eos_token_id] == b""
    assert of[tokenizer.convert_tokens_to_ids("<덧붙임>")] == "<덧붙임>".encode()
