"""The extended tokenizer: nothing is renumbered, and it cuts text as slow BPE with the same merges does."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Tokenizer

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import holds_hangul
from korean_llm.vocabulary.byte_level import bytes_piece, piece_bytes
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.family import padding_entry
from korean_llm.vocabulary.sentencepiece_bpe import score_step
from tests.reference import bpe, sentencepiece_bpe
from tests.vocabulary.conftest import NEW_TOKENS, Extension
from tests.vocabulary.tiny import ENGLISH, SPECIALS, base_tokenizer, korean_documents


def random_texts(count: int, seed: int) -> list[str]:
    """Strings of Hangul, jamo, other scripts, digits, spaces and controls in any order."""
    choose = random.Random(seed)
    pools = [
        "가나다라각힣뷁",
        "ㅋㅎㅠㅏ",
        "우리할머니는이른아침마다",
        "한글",
        " \n\t\r",
        "0123",
        "abcÉß'.,(",
        "ꀀ日あΩ🙂\u0301",
    ]
    return ["".join(choose.choice(choose.choice(pools)) for _ in range(choose.randint(1, 40))) for _ in range(count)]


def ids(tokenizer: object, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # type: ignore[operator]


def test_every_old_entry_keeps_its_id(extension: Extension) -> None:
    old, new = extension.base.get_vocab(), extension.extended.get_vocab()
    assert {piece: new[piece] for piece in old} == old
    padding = {padding_entry(id): id for id in range(len(old) + NEW_TOKENS, extension.rows)}
    assert padding.items() <= new.items()
    assert extension.rows % 128 == 0 < len(padding) < 128
    assert len(new) == len(old) + NEW_TOKENS + len(padding) == len(extension.extended) == extension.rows


def test_padding_is_never_produced(extension: Extension) -> None:
    ids_found = {
        id for text in [*padding_texts(extension), *korean_documents()] for id in ids(extension.extended, text)
    }
    assert max(ids_found) < len(extension.base) + NEW_TOKENS


def padding_texts(extension: Extension) -> list[str]:
    first = len(extension.base) + NEW_TOKENS
    return [f"{before}{padding_entry(id)}" for id in range(first, extension.rows) for before in ("", " ", "한글")]


def test_special_tokens_stay_special(extension: Extension) -> None:
    for text in SPECIALS:
        assert ids(extension.extended, f"한글{text}") == [*ids(extension.extended, "한글"), *ids(extension.base, text)]
    assert extension.base.all_special_ids == extension.extended.all_special_ids
    messages = [{"role": "user", "content": "Hello, who are you?"}]
    render = {"tokenize": True, "return_dict": False}
    assert extension.base.apply_chat_template(messages, **render) == extension.extended.apply_chat_template(
        messages, **render
    )


@pytest.mark.parametrize("kind", ["llama3", "qwen"])
def test_appending_without_first_placing_the_special_tokens_would_renumber_them(kind: str) -> None:
    state = json.loads(base_tokenizer(kind).backend_tokenizer.to_str())
    before = {token["content"]: token["id"] for token in state["added_tokens"]}
    free = max(state["model"]["vocab"].values()) + 1
    assert set(before.values()) == set(range(free, free + len(before)))
    state["model"]["vocab"] |= {bytes_piece("값".encode() + bytes([i])): free + len(before) + i for i in range(9)}
    naive = Tokenizer.from_str(json.dumps(state))
    assert {content: naive.token_to_id(content) for content in before} != before


def test_cuts_text_as_slow_bpe_does(extension: Extension) -> None:
    state = json.loads(extension.extended.backend_tokenizer.to_str())
    encode = sentencepiece_bpe.encode if extension.kind == "llama" else bpe.encode
    texts = [*korean_documents()[:12], *ENGLISH, *random_texts(200, seed=11)]
    for text in texts:
        assert ids(extension.extended, text) == encode(text, state), text
    assert {id for text in texts for id in ids(extension.extended, text)} & {m.id for m in extension.merges}


def test_text_without_hangul_keeps_its_ids_and_decoding_does_not_change(extension: Extension) -> None:
    plain = 0
    for text in [*ENGLISH, *korean_documents(), *random_texts(3000, seed=12)]:
        old, new = ids(extension.base, text), ids(extension.extended, text)
        assert extension.base.decode(old) == extension.extended.decode(new)
        if not holds_hangul(text):
            plain += 1
            assert old == new, text
        else:
            assert len(new) <= len(old)
    assert plain > 50


def test_given_state_is_left_alone(extension: Extension) -> None:
    copy = json.loads(json.dumps(extension.family.state))
    extension.family.extended(extension.merges, extension.rows)
    assert extension.family.state == copy


def test_keeps_templates_and_licences_but_no_old_vocabulary(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = base_tokenizer("smollm")
    tokenizer.save_pretrained(base)
    for name in ("LICENSE", "vocab.json", "merges.txt", "tokenizer.model"):
        (base / name).write_text("old", encoding="utf-8")
    family_of(base).save([], 0, base, tmp_path / "out")
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert kept == {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "LICENSE"}
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()


def test_pieces_and_bytes_are_one_to_one() -> None:
    everything = bytes(range(256))
    assert piece_bytes(bytes_piece(everything)) == everything
    assert bytes_piece(" 가".encode()) == "Ġê°Ģ"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"model": {"byte_fallback": True}}, "byte fallback that does not write spaces as ▁"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "word suffix"),
        ({"decoder": {"type": "Fuse"}}, "BPE over characters"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "BPE over characters"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, "WordLevel"),
    ],
)
def test_other_families_are_one_clear_error(change: dict[str, dict[str, object]], found: str, tmp_path: Path) -> None:
    tokenizer = base_tokenizer("smollm")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for part, values in change.items():
        whole = "type" in values
        state[part] = values if whole else state[part] | values
    state["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=rf"{found}.*expected byte-level BPE"):
        family_of(tmp_path)


def pieces_of(folder: Path) -> list[Any]:
    model: Any = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((folder / "tokenizer.model").read_bytes())
    return list(model.pieces)


def test_tokenizer_model_holds_the_same_vocabulary(sentencepiece: Extension) -> None:
    old, new = pieces_of(sentencepiece.folder / "base"), pieces_of(sentencepiece.folder / "extended")
    assert [piece.SerializeToString() for piece in new[: len(old)]] == [piece.SerializeToString() for piece in old]
    assert {piece.piece: id for id, piece in enumerate(new)} == sentencepiece.extended.get_vocab()
    first, last = len(sentencepiece.base), len(sentencepiece.base) + NEW_TOKENS
    learned = new[first:last]
    assert {piece.type for piece in learned} == {learned[0].NORMAL}
    assert {piece.type for piece in new[last:]} == {learned[0].UNUSED}
    scores = [piece.score for piece in learned]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == NEW_TOKENS
    assert scores[0] < min(piece.score for piece in old)


def test_tokenizer_model_cuts_text_as_tokenizer_json_does(sentencepiece: Extension) -> None:
    processor = SentencePieceProcessor(model_file=str(sentencepiece.folder / "extended" / "tokenizer.model"))
    base = SentencePieceProcessor(model_file=str(sentencepiece.folder / "base" / "tokenizer.model"))
    texts = [text for text in [*korean_documents(), *ENGLISH, *random_texts(2000, seed=13)] if text]
    same = [text for text in texts if base.encode(text) == ids(sentencepiece.base, text)]
    assert len(same) > 0.99 * len(texts)
    assert [processor.encode(text) for text in same] == [ids(sentencepiece.extended, text) for text in same]


@pytest.mark.parametrize("lowest", [-3.0, -31_740.0, -1e9])
def test_scores_stay_apart_in_float32(lowest: float) -> None:
    step = score_step(lowest, 20_000)
    scores = np.float32(lowest) - np.arange(20_001, dtype=np.float64) * step
    assert len(np.unique(scores.astype(np.float32))) == 20_001


def test_two_files_that_contradict_each_other_are_refused(sentencepiece: Extension, tmp_path: Path) -> None:
    model: Any = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((sentencepiece.folder / "base" / "tokenizer.model").read_bytes())
    model.pieces[300].piece = "zzz"
    (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
    with pytest.raises(KoreanLLMError, match="under id 300, but tokenizer"):
        sentencepiece.family.save(sentencepiece.merges, sentencepiece.rows, tmp_path, tmp_path / "out")
