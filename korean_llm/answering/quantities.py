"""Numbers with their units in Korean text, however they are written: 9시 = 아홉 시, 5천 원 = 5,000원, 사흘 = 3일."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from korean_llm.answering.numerals import BEFORE_UNITS, DIGITS, LARGE, ONES, SMALL, TENS

_ONES = {**ONES, **BEFORE_UNITS}
_TENS = {**TENS, "스무": 20}
_DAYS = {"하루": 1, "이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "이레": 7, "여드레": 8, "아흐레": 9}
_DAYS |= {"열흘": 10, "보름": 15}

_SAME_UNIT = {
    "%": ("퍼센트", "프로"),
    "kg": ("킬로그램", "㎏"),
    "km": ("킬로미터", "㎞"),
    "cm": ("센티미터", "㎝"),
    "mm": ("밀리미터", "㎜"),
    "m": ("미터",),
    "g": ("그램",),
    "L": ("리터", "ℓ"),
    "곳": ("군데",),
    "번": ("차례", "회"),
    "살": ("세",),
    "개월": ("달",),
    "년": ("해",),
    "명": ("사람",),
}
_OTHER_UNITS = """
    번째 분의 시간 도 분 개 월 일 주 시 초 원 권 대 점 마리 포기 톤 벌 켤레 장 쪽 층 자 글자 음절 편 배 몫 판 통 모 그릇
    숟가락 석 자리 가지 가구 집 채 호 할 큰술 작은술 컵 닢 디옵터 대접 조 항 표 줄 칸 봉지 물 쌍 건 종 평 세대 근
"""
_CANONICAL = {name: unit for unit, names in _SAME_UNIT.items() for name in (unit, *names)}
_CANONICAL |= {name: name for name in _OTHER_UNITS.split()}


def _any(words: Iterator[str] | dict[str, int] | dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_UNIT = f"(?:{_any(_CANONICAL)})"
_ARABIC = r"\d[\d,]*(?:\.\d+)?(?:\s?[십백천])?(?:\s?[만억조])?"
_NATIVE = f"(?:(?:{_any(_TENS)})(?:{_any(_ONES)})?|(?:{_any(_ONES)}))"
_SINO = r"[일이삼사오육칠팔구]?[십백천만억][일이삼사오육칠팔구십백천만억]*"
_QUANTITY = re.compile(
    rf"(?P<arabic>{_ARABIC}(?:\s{_ARABIC}(?<=[십백천만억조]))*)여?\s?(?P<unit>{_UNIT})?"
    rf"|(?<![가-힣])(?P<native>{_NATIVE})여?\s?(?P<unit2>{_UNIT})"
    rf"|(?<![가-힣])(?P<sino>{_SINO})여?\s?(?P<unit3>{_UNIT})"
    rf"|(?<![가-힣])(?P<days>{_any(_DAYS)})"
)
_NUMBER_WORD = re.compile(rf"{_NATIVE}|{_SINO}|{_any(_DAYS)}")
_ARABIC_PART = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s?([십백천])?\s?([만억조])?")
_TIME_WORD = re.compile(r"[월화수목금토일]요일|오전|오후|새벽|정오|자정|매일|매주|매달|매월|매년|해마다|날마다|달마다")


class Quantity(NamedTuple):
    """A number and its unit, "" where none stands behind it."""

    value: float
    unit: str = ""

    def fits(self, other: Quantity) -> bool:
        """Whether both say the same, as far as both say a unit."""
        return self.value == other.value and (self.unit == other.unit or not self.unit or not other.unit)


def quantities(text: str) -> Iterator[Quantity]:
    """The numbers of a text in order; words count only before a unit, for 한 and 이 are often no numbers."""
    for match in _QUANTITY.finditer(text):
        if match["arabic"]:
            yield Quantity(_arabic(match["arabic"]), _CANONICAL.get(match["unit"] or "", ""))
        elif match["native"]:
            yield Quantity(_native(match["native"]), _CANONICAL[match["unit2"]])
        elif match["sino"]:
            yield Quantity(_sino(match["sino"]), _CANONICAL[match["unit3"]])
        else:
            yield Quantity(_DAYS[match["days"]], "일")


def is_number(term: str) -> bool:
    """Whether a term is a number or holds one, as 9, 9시, 아홉 and 십이 do."""
    return _NUMBER_WORD.fullmatch(term) is not None or any(sign.isdigit() for sign in term)


def unit_of(name: str) -> str:
    """The one name of a unit: 킬로그램 → kg; "" for a word that is none."""
    return _CANONICAL.get(name, "")


def time_words(text: str) -> set[str]:
    """Days of the week, parts of the day and words of recurrence."""
    return set(_TIME_WORD.findall(text))


def _arabic(text: str) -> float:
    total = 0.0
    for number, small, large in _ARABIC_PART.findall(text):
        total += float(number.replace(",", "")) * SMALL.get(small, 1) * LARGE.get(large, 1)
    return total


def _native(text: str) -> float:
    tens = next((word for word in _TENS if text.startswith(word)), "")
    return float(_TENS.get(tens, 0) + _ONES.get(text.removeprefix(tens), 0))


def _sino(text: str) -> float:
    total = part = digit = 0
    for sign in text:
        if sign in DIGITS:
            digit = DIGITS[sign]
        elif sign in SMALL:
            part, digit = part + (digit or 1) * SMALL[sign], 0
        else:
            total, part, digit = total + ((part + digit) or 1) * LARGE[sign], 0, 0
    return float(total + part + digit)
