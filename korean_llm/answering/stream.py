"""Streams that never break a syllable: bytes → text, tokens → bytes.

A Hangul syllable is three bytes of UTF-8, and a byte-level token may end in the middle of one. Text in decomposed
form (NFD) also spreads a syllable over two or three characters. Both are held back until they are whole.
"""

from __future__ import annotations

import codecs
import json
import re

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
