"""Hangul predicates against Unicode itself."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from korean_llm.hangul import eojeols, hangul_ratio, holds_hangul, holds_hangul_bytes
from tests.reference.bpe import surely_hangul

CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]


def test_every_character_with_hangul_in_its_name_is_hangul() -> None:
    named = [c for c in CHARACTERS if unicodedata.name(c, "").startswith("HANGUL") and not 0xFFA0 <= ord(c) <= 0xFFDC]
    assert len(named) > 11_500
    assert [c for c in named if not holds_hangul(c) and not 0x302E <= ord(c) <= 0x302F] == []


def test_bytes_prove_hangul_only_where_it_is() -> None:
    wrong = [c for c in CHARACTERS if holds_hangul_bytes(c.encode()) and not holds_hangul(c)]
    missed = [c for c in CHARACTERS if not holds_hangul_bytes(c.encode()) and holds_hangul(c)]
    assert wrong == []
    assert {ord(c) for c in missed} == set(range(0xA960, 0xA980))


def test_beginnings_of_characters_prove_hangul_only_if_nothing_else_begins_so() -> None:
    beginnings = {c.encode()[:size] for c in CHARACTERS[0x80:0x10000] for size in (1, 2)}
    wrong = [b for b in beginnings if holds_hangul_bytes(b) and not surely_hangul(b)]
    missed = [b for b in beginnings if not holds_hangul_bytes(b) and surely_hangul(b)]
    assert (wrong, missed) == ([], [])


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("", 0.0), ("123 !?", 0.0), ("한글", 1.0), ("ㅋㅋㅋ!", 1.0), ("한글 abc 12", 0.4), ("日本語", 0.0)],
)
def test_hangul_ratio_counts_letters(text: str, ratio: float) -> None:
    assert hangul_ratio(text) == pytest.approx(ratio)


def test_eojeols_are_split_at_any_space() -> None:
    assert eojeols(" 나는\t학교에\n간다. ") == ["나는", "학교에", "간다."]
