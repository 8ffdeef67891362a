"""Texts that break tokenizers, generated: the same ones on every run."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

_KOREAN = ["한국어", "값이", "닭볶음탕", "뷁", "ㅋㅋㅋ", "ㅠㅠ", "갂갃갅", "안녕하세요", "대한민국", "없었다", "밟히다"]
_FIXED = [
    "",
    " ",
    "   ",
    "\n\n\t ",
    "a\u0000b",
    "\u200b가\u200b",
    "가\u00a0나\u3000다",
    "ﾊﾝｶｸ ｱｲｳ ﾡﾢﾣ",
    "大韓民國 憲法 第一條 國家",
    "大韓民國은 民主共和國이다.",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇰🇷",
    "가👍🏽나👩‍👩‍👧‍👦다",
    "ꀀꀁꀂ ᄀ ꥠ ힰ ﾠ",
    "\ud55c\u1100\u1161\u11a8",
    "x=가+나*3;//주석\n\treturn '값'",
    "The 한국 is 2024년 3월 1일(금) 오후 3:30.",
    "https://example.kr/검색?q=한글&n=1#위",
    "가" * 300,
    "ㅋ" * 101,
    "가나" * 57 + "가",
    "가 " * 40,
    "\r\n가\r\n나\r다\n",
    "\x1b[31m빨강\x1b[0m \x07\x08\x7f",
    "é e\u0301 ﬁ ½ ① Ⅳ ㈜ ㎏ ㉠",
    "Ω≈ç√∫˜µ≤ Привет мир שלום مرحبا नमस्ते ไทย 日本語 中文",
    "▁가▁나 ▁ ▁▁",
    "<0xEA><0xB0><0x80> <padding 1>",
]
_RANGES = [
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x370, 0x52F),
    (0x5D0, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE7F),
    (0x1100, 0x11FF),
    (0x2000, 0x206F),
    (0x2190, 0x2BFF),
    (0x3000, 0x30FF),
    (0x3130, 0x318F),
    (0x4E00, 0x9FFF),
    (0xA000, 0xA48F),
    (0xA960, 0xA97C),
    (0xAC00, 0xD7A3),
    (0xD7B0, 0xD7FB),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFEF),
    (0x1F300, 0x1FAFF),
    (0x00, 0x1F),
]


def hard_texts(num: int = 2_000, seed: int = 0) -> Iterator[str]:
    """Fixed hard texts, Korean in four Unicode forms, and `num` random strings of one to four scripts with Korean."""
    yield from _FIXED
    for text in _KOREAN:
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            changed = unicodedata.normalize(form, text)
            yield from (changed, f" {changed}", f"{changed} {changed}", f"({changed})\n{changed}.")
    chance = random.Random(seed)
    for _ in range(num):
        yield "".join(_stretch(chance) for _ in range(chance.randint(1, 8)))


def _stretch(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(_KOREAN)[: chance.randint(1, 5)]
    if kind < 0.5:
        return " " * chance.randint(1, 3)
    first, last = chance.choice(_RANGES)
    return "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 6)))
