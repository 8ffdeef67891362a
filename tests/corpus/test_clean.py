"""Cleaning: for every rule a text that just passes and one that just fails; splitting loses nothing."""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest

from korean_llm.corpus.clean import normalise, reason_to_drop, repeated_line_ratio, split_text, symbol_ratio
from korean_llm.recipe import CleanSettings

LENIENT = {"min_chars": 1, "min_hangul_ratio": 0.0, "max_repeated_line_ratio": 1.0, "max_symbol_ratio": 1.0}


def rule(**setting: float) -> CleanSettings:
    """One rule at work, the others off."""
    return CleanSettings(**{**LENIENT, **setting})  # type: ignore[arg-type]


# ---- normalise


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
        ("한\u1100\u200b\u1161", "한가"),
        ("가\r\n나\r다\x0b라\x0c마\x85바\u2028사\u2029아", "가\n나\n다\n라\n마\n바\n사\n아"),
        ("\ufeff가\u200b나\u00ad다\x00라\x1b마\u2060바\ufffe", "가나다라마바"),
        ("왼쪽\u202e오른\u2066쪽\u200f", "왼쪽오른쪽"),
        ("가  나\t\t다\u00a0라\u3000 마", "가 나 다 라 마"),
        ("  가   \n나 \t\n", "가\n나"),
        ("목록\n  - 하나\n\t- 둘\n    - 셋   넷", "목록\n  - 하나\n\t- 둘\n    - 셋 넷"),
        ("가\n\n\n\n\n나", "가\n\n나"),
        ("가\n   \n \t \n\u3000\n나", "가\n\n나"),
        ("\n\n \n", ""),
        ("👨\u200d👩\u200d👧 ㅋㅋ", "👨\u200d👩\u200d👧 ㅋㅋ"),
    ],
)
def test_what_normalising_does(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


def test_every_character_alone_stays_goes_or_becomes_one_that_stays() -> None:
    """No visible character is lost: what disappears is control, format, space or half a pair."""
    lost = set()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        found = normalise(f"가{character}나")
        assert unicodedata.is_normalized("NFC", found)
        if found == "가나":
            lost.add(unicodedata.category(character))
        else:
            kept = unicodedata.normalize("NFC", f"가{character}나")
            assert found in (kept, "가 나", "가\n나"), hex(code)
    assert lost <= {"Cc", "Cf", "Cn"}


def test_normalising_twice_changes_nothing_more() -> None:
    source = random.Random(5)
    pieces = [
        *"가나 \n\t.a",
        "\r\n",
        "\u1100",
        "\u1161",
        "\u11a8",
        "\u200b",
        "\u3000",
        "\u0301",
        "\x85",
        "\ufeff",
        " \n ",
    ]
    for _ in range(3_000):
        text = "".join(source.choices(pieces, k=source.randrange(30)))
        once = normalise(text)
        assert normalise(once) == once, repr(text)
        assert unicodedata.is_normalized("NFC", once), repr(text)
        assert "\n\n\n" not in once and not any(line != line.rstrip() for line in once.split("\n")), repr(text)


# ---- rules


@pytest.mark.parametrize(
    ("settings", "reason", "passes", "fails"),
    [
        (rule(min_chars=100), "too_short", "가" * 100, "가" * 99),
        (rule(min_hangul_ratio=0.3), "little_hangul", "가나다abcdefg", "가나abcdefg"),
        (rule(min_hangul_ratio=0.3), "little_hangul", "ㅋㅋㅋabcdefg 12345678901234567890", "日本語中文"),
        (rule(max_repeated_line_ratio=0.5), "repeated_lines", "가\n가\n나\n나", "가\n가\n나\n나\n나"),
        (rule(max_repeated_line_ratio=0.5), "repeated_lines", "가\n\n\n\n나", "가\n 가\n가 \n"),
        (rule(max_symbol_ratio=0.3), "symbols", "가나다라마바사###", "가나다라마바###"),
        (rule(max_symbol_ratio=0.3), "symbols", "가, ‘나’. (다)?! “라” - 마: 바; 사…·", "★ 가 ♥ 나"),
    ],
)
def test_a_text_that_just_passes_and_one_that_just_fails(
    settings: CleanSettings, reason: str, passes: str, fails: str
) -> None:
    assert reason_to_drop(passes, "ko", settings) is None
    assert reason_to_drop(fails, "ko", settings) == reason
    assert reason_to_drop(fails, "ko", rule()) is None, "no other rule catches it"


def test_hangul_is_asked_of_korean_only() -> None:
    english = "The library opens at nine."
    assert reason_to_drop(english, "ko", rule(min_hangul_ratio=0.3)) == "little_hangul"
    assert reason_to_drop(english, "en", rule(min_hangul_ratio=0.3)) is None


def test_the_first_rule_that_fails_gives_the_name() -> None:
    text = "#\n" * 5
    order = []
    settings = {"min_chars": 100, "min_hangul_ratio": 0.3, "max_repeated_line_ratio": 0.3, "max_symbol_ratio": 0.3}
    for name in list(settings):
        order.append(reason_to_drop(text, "ko", rule(**settings)))
        del settings[name]
    assert order == ["too_short", "little_hangul", "repeated_lines", "symbols"]


def test_ratios_by_hand() -> None:
    assert repeated_line_ratio("가\n나\n 가 \n\n가") == 0.5
    assert repeated_line_ratio("") == symbol_ratio("") == symbol_ratio(" \n") == 0.0
    assert symbol_ratio("가 나 + ★") == 0.5
    assert symbol_ratio("가.") == 0.0


# ---- split


def rejoins(text: str, parts: list[str]) -> bool:
    """Whether the parts are the text, with nothing but white space left out between them."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        if found < 0 or text[at:found].strip():
            return False
        at = found + len(part)
    return not text[at:].strip()


def test_splitting_loses_no_character() -> None:
    source = random.Random(11)
    for number in range(600):
        marks = [["\n\n", "\n", " "], ["\n", " "], [" "], [""]][number % 4]
        words = ["".join(source.choices("가나다라마바사 -", k=source.randrange(1, 40))) for _ in range(60)]
        text = normalise("".join(word + source.choice(marks) for word in words))
        limit = source.randrange(5, 200)
        parts = split_text(text, limit)
        assert rejoins(text, parts), (text, limit)
        assert all(0 < len(part) <= limit and part == part.rstrip() for part in parts), (text, limit)


def test_a_text_without_a_space_is_cut_anywhere_and_stays_whole() -> None:
    text = "".join(chr(0xAC00 + number) for number in range(1_000))
    parts = split_text(text, 130)
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 130


def test_paragraphs_come_before_lines_and_lines_before_words() -> None:
    """Each time a lesser mark stands nearer the middle."""
    first, second = "첫째 줄.", "둘째 문단.\n그 다음 줄 이다."
    assert split_text(f"{first}\n\n{second}", 20) == [first, second]
    assert split_text("한 줄.\n두 번째 줄 이다.", 11) == ["한 줄.", "두 번째 줄 이다."]
    assert split_text("하나 둘셋넷다섯", 6) == ["하나", "둘셋넷다섯"]


def test_a_short_text_is_not_cut() -> None:
    text = "가\n\n나\n\n다"
    assert split_text(text, len(text)) == [text]
    assert len(split_text(text, len(text) - 1)) == 2


def test_a_cut_is_near_the_middle() -> None:
    """Else a book would lose one paragraph after another from its beginning, and parts would be tiny."""
    text = "\n\n".join("가" * 98 for _ in range(64))
    sizes = [len(part) for part in split_text(text, 1_000)]
    assert len(sizes) == 8
    assert min(sizes) > 500


def test_indentation_after_a_cut_stays() -> None:
    assert split_text("def 하나():\n    return 1\n\n    # 둘\n    return 2", 30)[1] == "    # 둘\n    return 2"
