"""Keys and passwords, told by their look, taken out of text before it is written down."""

from __future__ import annotations

import re

SECRET = "[비밀값]"
"""What stands where a secret stood."""

_FREE = r"(?<![a-z0-9])"
# Mark → what a secret with this mark looks like. A text is searched only for the marks it holds, and every repeat is
# bounded, so that no text, however hostile, takes longer than its length.
_LOOKS = {
    "private key-----": r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}+(?:-----END [A-Z ]{0,30}KEY-----)?",
    "bearer ": r"(?<=bearer )[a-z0-9._~+/=-]{12,4000}",
    "basic ": r"(?<=basic )[a-z0-9+/=]{12,4000}",
    "://": r"(?<=://)[^\s/@:]{0,100}+:[^\s/@]{1,200}+(?=@)",
    "k-": rf"{_FREE}[spr]k-[a-z0-9_-]{{16,400}}",
    "k_": rf"{_FREE}[spr]k_(?:live|test)_[a-z0-9_]{{16,400}}",
    "hf_": rf"{_FREE}hf_[a-z0-9]{{20,200}}",
    "gh": rf"{_FREE}(?:gh[pousr]_|github_pat_)[a-z0-9_]{{20,300}}",
    "glpat-": rf"{_FREE}glpat-[a-z0-9_-]{{20,300}}",
    "akia": rf"{_FREE}akia[0-9a-z]{{16}}(?![a-z0-9])",
    "asia": rf"{_FREE}asia[0-9a-z]{{16}}(?![a-z0-9])",
    "aiza": rf"{_FREE}aiza[0-9a-z_-]{{30,100}}",
    "xox": rf"{_FREE}xox[a-z]-[a-z0-9-]{{10,300}}",
    "eyj": r"(?<![a-z0-9_-])eyj[a-z0-9_-]{10,4000}+\.[a-z0-9_-]{10,4000}+\.[a-z0-9_-]{5,4000}+",
    "key": r"(?:(?<=key=)|(?<=key: )|(?<=key\": \"))[a-z0-9._~+/-]{16,4000}",
    "token": r"(?:(?<=token=)|(?<=token: )|(?<=token\": \"))[a-z0-9._~+/-]{16,4000}",
    "secret": r"(?:(?<=secret=)|(?<=secret: )|(?<=secret\": \"))[a-z0-9._~+/-]{16,4000}",
}
_COMPILED = {mark: re.compile(look, re.IGNORECASE) for mark, look in _LOOKS.items()}


def without_secrets(text: str) -> str:
    """The text with what looks like an API key, token, private key or password in an address replaced by SECRET.

    Told by look alone: prefixes that services give their keys (sk-, hf_, ghp_, AKIA, …), "Bearer …", signed web
    tokens, PEM blocks, and long values after "key=", "token=" or "secret=". A secret without such a mark stays.
    """
    small = text.lower()
    for mark, look in _COMPILED.items():
        if mark in small:
            text = look.sub(SECRET, text)
    return text
