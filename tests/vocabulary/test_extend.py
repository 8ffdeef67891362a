"""The extended tokenizer: nothing is renumbered, and it cuts text as slow BPE with the same merges does."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import holds_hangul
from korean_llm.vocabulary.byte_level import bytes_piece, piece_bytes, tokenizer_state
from korean_llm.vocabulary.extend import extended_state, save_tokenizer
from tests.reference import bpe
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
    assert len(new) == len(old) + NEW_TOKENS == len(extension.extended)


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
    state = tokenizer_state(base_tokenizer(kind))
    before = {token["content"]: token["id"] for token in state["added_tokens"]}
    free = max(state["model"]["vocab"].values()) + 1
    assert set(before.values()) == set(range(free, free + len(before)))
    state["model"]["vocab"] |= {bytes_piece("값".encode() + bytes([i])): free + len(before) + i for i in range(9)}
    naive = Tokenizer.from_str(json.dumps(state))
    assert {content: naive.token_to_id(content) for content in before} != before


def test_cuts_text_as_slow_bpe_does(extension: Extension) -> None:
    state = tokenizer_state(extension.extended)
    texts = [*korean_documents()[:12], *ENGLISH, *random_texts(200, seed=11)]
    for text in texts:
        assert ids(extension.extended, text) == bpe.encode(text, state), text
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
    state = tokenizer_state(extension.base)
    copy = json.loads(json.dumps(state))
    extended_state(state, extension.merges)
    assert state == copy


def test_keeps_templates_and_licences_but_no_old_vocabulary(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = base_tokenizer("smollm")
    tokenizer.save_pretrained(base)
    for name in ("LICENSE", "vocab.json", "merges.txt", "tokenizer.model"):
        (base / name).write_text("old", encoding="utf-8")
    save_tokenizer(extended_state(tokenizer_state(tokenizer), []), base, tmp_path / "out")
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
        ({"model": {"byte_fallback": True}}, "byte fallback"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "word suffix"),
        ({"decoder": {"type": "Fuse"}}, "BPE over characters"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "BPE over characters"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, "WordLevel"),
    ],
)
def test_other_families_are_one_clear_error(change: dict[str, dict[str, object]], found: str) -> None:
    tokenizer = base_tokenizer("smollm")
    state = tokenizer_state(tokenizer)
    for part, values in change.items():
        whole = "type" in values
        state[part] = values if whole else state[part] | values
    state["added_tokens"] = []
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    with pytest.raises(KoreanLLMError, match=f"{found}.*expected byte-level BPE"):
        tokenizer_state(tokenizer)
