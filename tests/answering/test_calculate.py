"""Arithmetic: exact, bounded, and never executed."""

from __future__ import annotations

import time

import pytest

from korean_llm.answering.agent.calculate import calculate, korean_number
from korean_llm.errors import KoreanLLMError


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * -3", "-9"),
        ("0.1 + 0.2", "0.3"),
        ("7 // 2 + 7 % 4", "6"),
        ("2 ** 10", "1,024"),
        ("2^10", "1,024"),
        ("10 / 4", "2.5"),
        ("10 / 3", "약 3.3333333333"),
        ("1,234,567 + 1", "1,234,568"),
        ("3만 5천", "35,000"),
        ("3만 5천원 × 12개월", "420,000"),
        ("3만5천 * 2명 =", "70,000"),
        ("1억 2천5백만 300 - 300", "125,000,000"),
        ("1.5억 / 만", "15,000"),
        ("2천만", "20,000,000"),
        ("천 + 백 + 십", "1,110"),
        ("20,000원의 15%", "3,000"),
        ("3만 원의 10퍼센트", "3,000"),
        ("5 더하기 3 곱하기 2 빼기 1 나누기 4", "10.75"),
        ("365일 − 5일", "360"),
        ("2 ** -2", "0.25"),
    ],
)
def test_values(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("text", "number"), [("3만 5천", "35000"), ("2조 10억", "2001000000000"), ("1만 2,345", "12345")]
)
def test_korean_numbers(text: str, number: str) -> None:
    assert korean_number(text) == number


@pytest.mark.parametrize(
    "expression",
    [
        "", "하늘", "1 +", "__import__('os').system('ls')", "(lambda: 1)()", "[1] * 10", "'a' * 3", "1 if 1 else 2",
        "9 ** 9 ** 9", "2 ** 100000", "10 ** 64 ** 3", "2 ** 0.5", "(-1) ** 0.5", "True + 1", "1e999", "1j",
        "x := 3", "1 < 2", "(" * 250, "-" * 290 + "x", "~1", "1 << 500", "a.b", "f'{1}'",
    ],
)  # fmt: skip
def test_what_is_no_arithmetic(expression: str) -> None:
    start = time.monotonic()
    with pytest.raises(KoreanLLMError, match="is no arithmetic"):
        calculate(expression)
    assert time.monotonic() - start < 0.5


def test_zero_and_length() -> None:
    with pytest.raises(KoreanLLMError, match="divides by zero"):
        calculate("3 / (2 - 2)")
    with pytest.raises(KoreanLLMError, match="divides by zero"):
        calculate("0 ** -1")
    with pytest.raises(KoreanLLMError, match="1001 characters"):
        calculate("1" * 1_001)
