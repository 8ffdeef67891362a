"""Keys and passwords, told by their look, taken out of text before it is written down."""

from __future__ import annotations

import re

SECRET = "[비밀값]"
"""What stands where a secret stood."""

# Every repeat is bounded, so that no text, however hostile, makes the search slower than its length.
_LOOKS = (
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
    r"(?:(?<=bearer )|(?<=basic ))[a-z0-9._~+/=-]{12,4000}",
    r"(?<=://)[^\s/@:]{0,100}:[^\s/@]{1,200}(?=@)",
    r"(?<![a-z0-9])(?:sk|pk|rk)[-_][a-z0-9_-]{16,400}",
    r"(?<![a-z0-9])hf_[a-z0-9]{20,200}",
    r"(?<![a-z0-9])(?:gh[pousr]_|github_pat_|glpat-)[a-z0-9_-]{20,300}",
    r"(?<![a-z0-9])(?:akia|asia)[0-9a-z]{16}(?![a-z0-9])",
    r"(?<![a-z0-9])aiza[0-9a-z_-]{30,100}",
    r"(?<![a-z0-9])xox[a-z]-[a-z0-9-]{10,300}",
    r"(?<![a-z0-9])eyj[a-z0-9_-]{10,4000}\.[a-z0-9_-]{10,4000}\.[a-z0-9_-]{5,4000}",
    r"(?:(?<=key=)|(?<=key: )|(?<=key\": \")|(?<=token=)|(?<=token: ))[a-z0-9._~+/-]{16,4000}",
    r"(?:(?<=secret=)|(?<=secret: )|(?<=secret\": \"))[a-z0-9._~+/-]{16,4000}",
)
_SECRET = re.compile("|".join(_LOOKS), re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with what looks like an API key, token, private key or password in an address replaced by SECRET.

    Told by look alone: prefixes that services give their keys (sk-, hf_, ghp_, AKIA, …), "Bearer …", signed web
    tokens, PEM blocks, and long values after "key=", "token=" or "secret=". A secret without such a mark stays.
    """
    return _SECRET.sub(SECRET, text)
