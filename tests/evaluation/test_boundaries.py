"""Token boundaries as people see them."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from korean_llm.evaluation.boundaries import Piece, pieces


def test_single_bytes_are_gathered_into_characters(tokenizer: PreTrainedTokenizerFast) -> None:
    assert pieces(tokenizer, "감, a") == [Piece("감", 3), Piece(",", 1), Piece(" a", 1)]


def test_the_tokens_of_a_character_and_what_they_share_it_with_stay_together() -> None:
    # " 낱" is UTF-8 20 EB 82 B1; the vocabulary holds 20 EB 82 as one token and B1 as another.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "Ġë", "ĠëĤ"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "ë"), ("Ġë", "Ĥ")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert pieces(tokenizer, "a 낱b") == [Piece("a", 1), Piece(" 낱", 2), Piece("b", 1)]


def test_sentencepiece_style_spaces_and_byte_fallback() -> None:
    vocabulary = {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, **{f"<0x{byte:02X}>": 4 + byte for byte in range(256)}}
    model = models.BPE(vocab=vocabulary, merges=[("▁", "a")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    cut = pieces(tokenizer, "a 감 a")
    assert "".join(piece.text for piece in cut) == "a 감 a"
    assert sum(piece.tokens for piece in cut) == len(tokenizer("a 감 a")["input_ids"])
    assert Piece("감", 3) in cut


@pytest.mark.parametrize("sentence", ["", " ", "가나다 abc", "두 줄\n\n끝  ", "🙂👍🏽 漢字 café", "ㅋㅋㅋ 뷁\u200b"])
def test_pieces_join_to_the_sentence(tokenizer: PreTrainedTokenizerFast, sentence: str) -> None:
    cut = pieces(tokenizer, sentence)
    assert "".join(piece.text for piece in cut) == sentence
    assert sum(piece.tokens for piece in cut) == len(tokenizer(sentence, add_special_tokens=False)["input_ids"])
