"""Terms of the user's own: found whether they are written with their spaces, without them, or with some of them."""

from __future__ import annotations

import re
from pathlib import Path

from korean_llm.errors import KoreanLLMError

MARK = "\x01"
"""Stands before a dictionary term among the pieces of a text; prepared text itself never holds it."""
_MAX_TERMS = 100_000


class Dictionary:
    """User terms, prepared for search.

    words: the terms without spaces, which Kiwi is to know as names, so that their particles fall off.
    parts: word → the content morphemes it is made of; they stay searchable beside the whole.
    """

    def __init__(self, terms: tuple[str, ...], parts: dict[str, tuple[str, ...]]) -> None:
        self.words, self.parts = tuple(parts), parts
        self._term = re.compile("|".join(sorted(map(self._pattern, terms), key=len, reverse=True)), re.IGNORECASE)

    def _pattern(self, term: str) -> str:
        """A term's eojeols, and the nouns of one that is given without spaces, with or without spaces between."""
        pieces = term.split()
        if len(pieces) == 1:
            nouns = self.parts.get(term.lower(), ())
            pieces = list(nouns) if "".join(nouns) == term.lower() else pieces
        return r"\s*".join(map(re.escape, pieces))

    def found(self, prepared: str) -> list[str]:
        """A mark for every term in a prepared text."""
        return [MARK + "".join(match[0].split()) for match in self._term.finditer(prepared)]

    @staticmethod
    def is_mark(piece: str) -> bool:
        """Whether a piece is a dictionary term found, and no eojeol."""
        return piece.startswith(MARK)

    @staticmethod
    def term(piece: str) -> str:
        """The term, without spaces, that a mark stands for."""
        return piece[len(MARK) :]


def read_dictionary(path: Path) -> tuple[str, ...]:
    """The terms of a text file, one a line; empty lines and lines that begin with # are left out.

    Raises KoreanLLMError where the file cannot be read, is not UTF-8, or holds more than 100,000 terms.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KoreanLLMError(
            f"the dictionary {path} cannot be read as UTF-8 text ({error}); give one term a line."
        ) from None
    terms = tuple(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")))
    if len(terms) > _MAX_TERMS:
        raise KoreanLLMError(f"the dictionary {path} holds {len(terms):,} terms, at most {_MAX_TERMS:,} are taken.")
    return terms
