"""The words that Korean numbers are made of, by value."""

from __future__ import annotations

ONES = dict(zip(("하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉"), range(1, 10), strict=True))
BEFORE_UNITS = {"한": 1, "두": 2, "세": 3, "네": 4}
TENS = dict(zip(("열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"), range(10, 100, 10), strict=True))
DIGITS = dict(zip("일이삼사오육칠팔구", range(1, 10), strict=True))
SMALL = {"십": 10, "백": 100, "천": 1_000}
LARGE = {"만": 10**4, "억": 10**8, "조": 10**12}
