"""Exact arithmetic on what a model writes: parsed, never executed, and bounded."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

from korean_llm.answering.numerals import LARGE, SMALL
from korean_llm.errors import KoreanLLMError

MAX_CHARS = 300
_MAX_BITS = 512
_MAX_EXPONENT = 64

_DIGITS = r"\d[\d,]*(?:\.\d+)?"
_PART = re.compile(rf"({_DIGITS})?\s*([십백천만억조])")
_KOREAN_NUMBER = re.compile(rf"(?:(?:{_DIGITS})?\s*[십백천만억조]\s*)+(?:{_DIGITS}(?!\s*[\d%.]))?")
_COUNTERS = re.compile(
    r"(?<=[\d)])\s*(?:원|명|사람|개월|개|권|장|번|살|세|년|달|주|일|시간|분|초|마리|대|병|배|km|kg|m|g|L)"
)
_WORDS = (
    (re.compile(r"더하기|\bplus\b"), "+"),
    (re.compile(r"빼기|[−–—]"), "-"),
    (re.compile(r"곱하기|[×✕·]|(?<=\d)\s*x\s*(?=\d)"), "*"),
    (re.compile(r"나누기|÷"), "/"),
    (re.compile(r"\^"), "**"),
    (re.compile(r"(?<=\d)(?:퍼센트|프로)"), "%"),
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%(?!\s*[\d(])")

_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
}


def calculate(expression: str) -> str:
    """The value of an expression such as "3만 5천원 × 12" or "(1억 2천만 - 500) / 3", with thousands separated.

    + - * / // % ** and parentheses, percentages, Korean number units and counters. Raises KoreanLLMError for
    anything else, for a division by zero, and for numbers of more than 512 bits.
    """
    if len(expression) > MAX_CHARS:
        raise KoreanLLMError(f"the expression has {len(expression)} characters; expected at most {MAX_CHARS}.")
    try:
        return _shown(_value(ast.parse(_plain(expression), mode="eval").body))
    except ZeroDivisionError:
        raise KoreanLLMError(f"{expression!r} divides by zero.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise KoreanLLMError(
            f"{expression!r} is no arithmetic; expected numbers, + - * / // % ** and parentheses."
        ) from None


def _plain(expression: str) -> str:
    """The expression with plain numbers and operators."""
    text = _KOREAN_NUMBER.sub(lambda match: f" {korean_number(match[0])} ", expression)
    text = _COUNTERS.sub(" ", _THOUSANDS.sub("", text))
    for pattern, operator in _WORDS:
        text = pattern.sub(operator, text)
    text = _PERCENT.sub(r"(\1/100)", text)
    return re.sub(r"(?<=[\d)])\s*의\s*(?=[\d(])", "*", text).strip().removesuffix("=").strip()


def korean_number(text: str) -> str:
    """ "1억 2천5백만 300" → "125000300", exactly."""
    total = section = Fraction(0)
    at = 0
    for match in _PART.finditer(text):
        number, unit = match[1], match[2]
        value = Fraction((number or "0").replace(",", ""))
        if unit in SMALL:
            section += (value if number else 1) * SMALL[unit]
        else:
            section += value
            total += (section or 1) * LARGE[unit]
            section = Fraction(0)
        at = match.end()
    rest = text[at:].strip().replace(",", "")
    whole = total + section + Fraction(rest or 0)
    return str(whole) if whole.denominator == 1 else f"({whole})"


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(Fraction(str(node.value)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _OPERATIONS:
            return _bounded(_OPERATIONS[type(node.op)](left, right))
    raise ValueError


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT:
        raise ValueError
    return _bounded(Fraction(base ** int(exponent)))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise ValueError
    return value


def _shown(value: Fraction) -> str:
    """Whole numbers in full, others to ten digits after the point, "약" before what is rounded."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    with localcontext() as context:
        context.prec = 200
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        rounded = round(exact, 10).normalize()
    return f"{'' if Fraction(rounded) == value else '약 '}{rounded:,f}"
