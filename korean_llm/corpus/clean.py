"""Cleaning: text is normalised, then kept, or dropped under the name of the rule it fails."""

from __future__ import annotations

import re
import unicodedata

from korean_llm.hangul import hangul_ratio
from korean_llm.recipe import CleanSettings

REASONS = ("too_short", "little_hangul", "repeated_lines", "symbols")

_LINE_ENDS = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffe\uffff]"
)
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")


def normalise(text: str) -> str:
    """NFC, line ends as \\n, control and invisible format characters out, runs of spaces as one.

    Indentation at the start of a line is kept: code and lists need it.
    """
    text = _CONTROL.sub("", _LINE_ENDS.sub("\n", text))
    # NFC comes after that: what stood between two letters may have kept them from becoming one.
    lines = (_one_line(line) for line in unicodedata.normalize("NFC", text).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _one_line(line: str) -> str:
    body = line.lstrip(" \t")
    indent = line[: len(line) - len(body)]
    return (indent + _SPACES.sub(" ", body)).rstrip()


def split_text(text: str, max_chars: int) -> list[str]:
    """Cut a long text into parts of at most about max_chars, at paragraphs (else lines, else anywhere).

    A book that is one document would otherwise be held out, or learned, as a whole.
    """
    if len(text) <= max_chars:
        return [text]
    middle = len(text) // 2
    for mark in ("\n\n", "\n", " "):
        before, after = text.rfind(mark, 1, middle), text.find(mark, middle)
        places = [place for place in (before, after) if place > 0]
        if places:
            cut = min(places, key=lambda place: abs(place - middle))
            break
    else:
        cut = middle
    halves = text[:cut].rstrip(), text[cut:].removeprefix(" ").lstrip("\n")
    return [part for half in halves if half for part in split_text(half, max_chars)]


def reason_to_drop(text: str, language: str, settings: CleanSettings) -> str | None:
    """The first rule the text fails, or None where it is kept. The share of Hangul counts for Korean only."""
    if len(text) < settings.min_chars:
        return "too_short"
    if language == "ko" and hangul_ratio(text) < settings.min_hangul_ratio:
        return "little_hangul"
    if repeated_line_ratio(text) > settings.max_repeated_line_ratio:
        return "repeated_lines"
    if symbol_ratio(text) > settings.max_symbol_ratio:
        return "symbols"
    return None


def repeated_line_ratio(text: str) -> float:
    """Share of non-empty lines that stand in the text more than once, the first of each not counted."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def symbol_ratio(text: str) -> float:
    """Share of symbols (Unicode S*, and punctuation other than sentence marks) among visible characters."""
    visible = [character for character in text if not character.isspace()]
    odd = sum(_is_symbol(character) for character in visible)
    return odd / len(visible) if visible else 0.0


def _is_symbol(character: str) -> bool:
    if character in ".,?!'\"()‘’“”-:;·…":
        return False
    return unicodedata.category(character)[0] in "SP"
