"""Text from documents, questions, file names and models as HTML that can do nothing."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"""["#$&'()*+/<=>@\[\\\]^_`{|}~]""")


def escaped(text: str) -> str:
    """The text as HTML on one line; every ASCII character that means something to HTML or Markdown is an entity."""
    entities = _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", text)
    return entities.replace("\r", "").replace("\n", "<br>")
