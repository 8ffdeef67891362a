"""Streams that never break a syllable: tokens → bytes → text, up to the first stop string.

A Hangul syllable is three bytes of UTF-8, and a byte-level token may end in the middle of one. Text in decomposed
form (NFD) also spreads a syllable over two or three characters. Both are held back until they are whole.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from korean_llm.vocabulary.byte_level import piece_bytes

# The last syllable block of conjoining jamo (Unicode 15, chapter 3.12): leading, vowel and trailing letters.
_LAST_BLOCK = re.compile(
    "[\u1100-\u115f\ua960-\ua97c]{1,4}[\u1160-\u11a7\ud7b0-\ud7c6]{0,4}[\u11a8-\u11ff\ud7cb-\ud7fb]{0,4}\\Z"
)
_REPLACEMENT = "\ufffd"
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


class SyllableStream:
    """Bytes in, whole characters and whole syllables out.

    Everything it returns, joined, is the text of all the bytes with invalid and unfinished ones left out. U+FFFD,
    which others write where they broke a character, is left out too.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._held = ""

    def feed(self, raw: bytes) -> str:
        """The text that is whole after these bytes."""
        text = self._held + self._decoder.decode(raw).replace(_REPLACEMENT, "")
        block = _LAST_BLOCK.search(text)
        cut = block.start() if block else len(text)
        self._held = text[cut:]
        return text[:cut]

    def feed_text(self, text: str) -> str:
        """The same for text; lone surrogates, as a server writes that cuts a character in two, are left out."""
        return self.feed(text.encode("utf-8", "surrogatepass"))

    def finish(self) -> str:
        """What was held back and is whole now that nothing follows; unfinished bytes are dropped."""
        text, self._held = self._held, ""
        return text


_GOES_ON = "(?![\u1160-\u11ff\ud7b0-\ud7fb])"
"""No vowel or trailing letter follows that would make the last syllable another one."""


class StopStrings:
    """Whole syllables in, the same out up to the first of some stop strings, which is not shown.

    What may be the beginning of a stop string is held back until it is known. Text and stop strings may be composed
    (NFC) or decomposed (NFD): they are the same strings, and a match never ends inside a syllable. Of several that
    overlap the one that is complete first counts, however the text comes. Empty ones are left out.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        known = [stop for stop in stops if stop]
        self._patterns = [_stop_pattern(stop) for stop in known]
        self._decomposed = [unicodedata.normalize("NFD", stop) for stop in known]
        self._longest = max(map(len, self._decomposed), default=0)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """What can be shown after this text; nothing once a stop string was found."""
        if self.found or not self._patterns:
            return "" if self.found else text
        text = self._held + text
        matches = (pattern.search(text) for pattern in self._patterns)
        spans = [(match.end(), match.start()) for match in matches if match]
        self.found = bool(spans)
        cut = min(spans)[1] if spans else self._beginning(text)
        self._held = "" if spans else text[cut:]
        return text[:cut]

    def _beginning(self, text: str) -> int:
        """Where the longest end of the text begins that a stop string may begin with."""
        for at in range(max(0, len(text) - self._longest), len(text)):
            end = unicodedata.normalize("NFD", text[at:])
            if any(stop.startswith(end) for stop in self._decomposed):
                return at
        return len(text)

    def finish(self) -> str:
        """What was held back, where the text ends before it became a stop string."""
        text, self._held = self._held, ""
        return text


@lru_cache(maxsize=64)
def _stop_pattern(stop: str) -> re.Pattern[str]:
    """The stop string with each character composed or decomposed."""
    composed = unicodedata.normalize("NFC", stop)
    either = (f"(?:{re.escape(char)}|{re.escape(unicodedata.normalize('NFD', char))})" for char in composed)
    return re.compile("".join(either) + _GOES_ON)


class AnswerStream:
    """Bytes in; out come whole syllables, up to the first stop string.

    Whatever the bytes are cut into, the texts returned are, joined, those of all the bytes in one piece.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._syllables, self._stops = SyllableStream(), StopStrings(stops)

    @property
    def ended(self) -> bool:
        """Whether a stop string was found: nothing will be shown any more."""
        return self._stops.found

    def feed(self, raw: bytes) -> str:
        """The text that can be shown after these bytes."""
        return self._stops.feed(self._syllables.feed(raw))

    def feed_text(self, text: str) -> str:
        """The same for text, which may hold lone surrogates."""
        return self._stops.feed(self._syllables.feed_text(text))

    def finish(self) -> str:
        """What is left to show when the text has ended."""
        return self._stops.feed(self._syllables.finish()) + self._stops.finish()


class TokenBytes:
    """The bytes that each token of a tokenizer stands for, special tokens none.

    Byte-level BPE (SmolLM2, OLMo-2, Llama-3, Qwen) and SentencePiece with byte fallback (Llama-2, Mistral).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids)
        self._added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
        decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"]
        self._byte_level = "ByteLevel" in json.dumps(decoder)

    def __getitem__(self, token: int) -> bytes:
        """Raises KeyError where a byte-level piece is not written in the byte-level alphabet."""
        if token in self._special:
            return b""
        if token in self._added:
            return self._added[token].encode()
        piece = str(self._tokenizer.convert_ids_to_tokens(token))
        if self._byte_level:
            return piece_bytes(piece)
        match = _BYTE_PIECE.fullmatch(piece)
        return bytes([int(match[1], 16)]) if match else piece.replace(_SPACE, " ").encode()
