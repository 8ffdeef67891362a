"""Korean numerals as values: 3백만, 삼백만 and 3,000,000 are one number, 스물두 and 22 as well."""

from __future__ import annotations

import re
from itertools import pairwise

from korean_llm.answering.numerals import BEFORE_UNITS, DIGITS, LARGE, ONES, SMALL, TENS

_NATIVE = {**ONES, **BEFORE_UNITS}
_COUNTED = frozenset(["시", "시간", "달", "살", "명", "사람", "개", "개월", "주", "주일", "가지", "마리", "잔"])
"""Units that Korean counts only: 3번 may be 세 번 or number three, 2분 two minutes and 두 분 two people."""

_PLAIN = re.compile(r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d*|0)\Z")
_PARTS = re.compile(r"\d+|.")


def with_values(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Every run of numerals that is one number becomes ("#value", "#"); what cannot be read so stays as it is."""
    out: list[tuple[str, str]] = []
    at = 0
    while at < len(tokens):
        end = at
        while end < len(tokens) and _numeral(tokens, end):
            end += 1
        forms = [form for form, _ in tokens[at:end]]
        counted = end < len(tokens) and tokens[end][0] in _COUNTED
        value = number(forms) if counted or not any(form in _NATIVE or form in TENS for form in forms) else None
        out += [(f"#{value}", "#")] if value is not None else tokens[at : max(end, at + 1)]
        at = max(end, at + 1)
    return out


def _numeral(tokens: list[tuple[str, str]], at: int) -> bool:
    """Whether a token is a numeral; 한, 두, 세, 네 are where they count the noun after them (한 20분 is "about")."""
    form, tag = tokens[at]
    after = tokens[at + 1][1] if at + 1 < len(tokens) else ""
    return tag in ("SN", "NR") or (tag == "MM" and form in _NATIVE and after in ("NNB", "NNG"))


def number(forms: list[str]) -> int | None:
    """The value of numerals that stand side by side, or None where they are not one whole number."""
    if len(forms) == 1 and _PLAIN.match(forms[0]):
        return int(forms[0].replace(",", ""))
    if forms and all(form in _NATIVE or form in TENS for form in forms):
        return _native(forms)
    beside = any(one[-1].isdecimal() and other[0].isdecimal() for one, other in pairwise(forms))
    if not forms or beside or any("." in form or form.startswith("0") for form in forms):
        return None
    return _sino("".join(forms).replace(",", ""))


def _native(forms: list[str]) -> int | None:
    tens = TENS.get(forms[0], 0)
    rest = forms[1:] if tens else forms
    if len(rest) > 1 or (rest and rest[0] not in _NATIVE):
        return None
    return tens + (_NATIVE[rest[0]] if rest else 0)


def _sino(text: str) -> int | None:
    """A Sino-Korean numeral, Arabic digits among it; None where the order of its units is not a number's."""
    total = section = digit = 0
    large, small = 10**16, 10**4
    for part in _PARTS.findall(text):
        if part.isdecimal() or part in DIGITS:
            if digit:
                return None
            digit = int(part) if part.isdecimal() else DIGITS[part]
        elif part in SMALL and SMALL[part] < small:
            small = SMALL[part]
            section, digit = section + (digit or 1) * small, 0
        elif part in LARGE and LARGE[part] < large:
            large, small = LARGE[part], 10**4
            total, section, digit = total + ((section + digit) or 1) * large, 0, 0
        else:
            return None
    return total + section + digit
