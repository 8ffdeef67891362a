"""Bytes to text: which encoding a Korean file is in, and text that can be stored and searched."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from korean_llm.errors import KoreanLLMError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 65_536
_LINE_ENDS = re.compile("\r\n?")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_KOREAN = re.compile(
    "[\uac00-\ud7a3\u3131-\u318e\u4e00-\u9fff\u3000-\u303f\u2010-\u2026\uff01-\uff5e\u00b7\u2460-\u24ff]"
)
# Letters that stand alone in no usual text: not ㄱ … ㅎ of lists, ㅋㅋ, ㅠㅠ, ㅡㅡ, but ㄳ, ㅔ, ㅝ, old ones; nor kana.
_ODD_LETTER = re.compile(
    "[\u3133\u3135\u3136\u313a-\u3140\u3144\u314f-\u315b\u315d-\u315f\u3161-\u3162\u3164-\u318e\u3041-\u30ff]"
)
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\x0c\x1b") - {0})
_MAX_DAMAGE = 0.01


@dataclass(frozen=True)
class Decoded:
    """Text, the encoding it was in, and how many places could not be decoded and hold U+FFFD instead."""

    text: str
    encoding: str
    num_damaged: int


def clean(text: str) -> str:
    """The text as it is stored: NFC, lines ended by line feeds, control characters and half characters as spaces.

    A space, because a NUL or a form feed between two words parts them, and because nothing else may be lost.
    """
    return unicodedata.normalize("NFC", _CONTROLS.sub(" ", _LINE_ENDS.sub("\n", text)))


def is_binary(sample: bytes) -> bool:
    """Whether the beginning of a file is no text in any encoding known here: over 1 % control bytes other than NUL,
    or NULs in over a third of it where it is no UTF-16 or UTF-32."""
    if marked_encoding(sample) or _unmarked_utf16(sample):
        return False
    controls = len(sample) - len(sample.translate(None, _CONTROL_BYTES))
    return controls > len(sample) / 100 or sample.count(0) > len(sample) / 3


def decode(data: bytes, place: object, declared: str | None = None) -> Decoded:
    """Decode a file whose encoding is told by its mark, by its bytes, or by what it declares, in this order.

    UTF-8 and CP949 (with EUC-KR inside it) prove themselves: bytes of one are next to never valid in the other. Up
    to 1 % of damaged places is mended by U+FFFD and counted. Raises KoreanLLMError where nothing fits.
    """
    encoding = marked_encoding(data) or _valid(data, ("utf-8",)) or _unmarked_utf16(data)
    encoding = encoding or _valid(data, (known_encoding(declared), "cp949"))
    if encoding:
        return _decoded(data, encoding)
    tries = [_decoded(data, name) for name in ("utf-8", "cp949")]
    best = min(tries, key=lambda decoded: decoded.num_damaged)
    visible = sum(1 for byte in data if byte > 127)
    if best.num_damaged <= max(1, _MAX_DAMAGE * visible) and _looks_korean(best.text):
        return best
    raise KoreanLLMError(
        f"{place} is text in an encoding that is neither UTF-8, UTF-16 nor CP949/EUC-KR; convert it first, for instance"
        " with `iconv -f SHIFT_JIS -t UTF-8`."
    )


def marked_encoding(data: bytes) -> str | None:
    """The encoding that a byte order mark at the beginning tells, or None."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), None)


def known_encoding(name: str | None) -> str | None:
    """Python's name of an encoding that a file declares, CP949 for its subsets; None where it is unknown."""
    try:
        found = codecs.lookup((name or "").strip().replace("ks_c_5601-1987", "cp949")).name
    except (LookupError, ValueError):
        return None
    return "cp949" if found in ("euc_kr", "johab") else found


def _decoded(data: bytes, encoding: str) -> Decoded:
    text = data.decode(encoding, errors="replace")
    mended = text.count("\ufffd")
    if mended and encoding.startswith("utf-8"):
        mended -= data.count("\ufffd".encode())
    return Decoded(text, encoding, mended)


def _valid(data: bytes, encodings: tuple[str | None, ...]) -> str | None:
    for encoding in encodings:
        if encoding is None:
            continue
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if encoding != "cp949" or _looks_korean(text):
            return encoding
    return None


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: in the right one of its two byte orders nearly all is ASCII or Korean."""
    sample = data[: _SAMPLE_BYTES // 2 * 2]
    if len(data) % 2 or not sample.count(0):
        return None
    for name in ("utf-16-le", "utf-16-be"):
        text = sample.decode(name, errors="replace")
        usual = sum(1 for character in text if character.isascii() and ord(character) > 8) + len(_KOREAN.findall(text))
        if usual >= 0.9 * len(text):
            return name
    return None


def _looks_korean(text: str) -> bool:
    """Whether most of what is not ASCII is what Korean files hold: syllables, letters, hanja, their punctuation.

    Japanese in EUC-JP is valid CP949, its kanji become syllables and its hiragana letters (jamo) of all kinds.
    """
    sample = text[:_SAMPLE_BYTES]
    foreign = sum(1 for character in sample if not character.isascii())
    odd_letters = len(_ODD_LETTER.findall(sample))
    return len(_KOREAN.findall(sample)) >= 0.8 * foreign and odd_letters <= 0.1 * foreign
