"""The base's tokenizer seen as byte-level BPE: which ones are, and what their ids and bytes are.

Words used in this room: a *piece* is a vocabulary entry as tokenizer.json writes it, in the byte-level alphabet
(each byte one printable character; Radford et al. 2019, GPT-2); a *word* is what the tokenizer's pre-tokenizer cuts
a text into, and merges never cross its borders.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from korean_llm.errors import KoreanLLMError

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]


def _alphabet() -> dict[str, int]:
    """Character → byte: printable Latin-1 stands for itself, U+0100 and up for the other 68, in order."""
    others = sorted(set(range(256)) - set(_PRINTABLE))
    return {chr(byte): byte for byte in _PRINTABLE} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE = _alphabet()
_CHARACTER = {byte: character for character, byte in _BYTE.items()}


def piece_bytes(piece: str) -> bytes:
    """The bytes a piece stands for. Raises KeyError where it is not written in the byte-level alphabet."""
    return bytes(_BYTE[character] for character in piece)


def bytes_piece(raw: bytes) -> str:
    """The piece that stands for these bytes."""
    return "".join(_CHARACTER[byte] for byte in raw)


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The tokenizer as tokenizer.json holds it, taken from what is loaded and not from the file.

    Some tokenizer classes rebuild their pre-tokenizer when they load, and what is loaded is what people use.
    Raises KoreanLLMError where the family cannot be extended: only byte-level BPE can.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _not_supported(f"{type(tokenizer).__name__}, which has no tokenizer.json")
    state: dict[str, Any] = json.loads(backend.to_str())
    model = state["model"]
    if model["type"] != "BPE":
        raise _not_supported(model["type"])
    if model["byte_fallback"]:
        raise _not_supported("SentencePiece-style BPE with byte fallback")
    if not (_is_byte_level(state["pre_tokenizer"]) and _is_byte_level(state["decoder"])):
        raise _not_supported("BPE over characters")
    if model["dropout"] or model["continuing_subword_prefix"] or model["end_of_word_suffix"]:
        raise _not_supported("BPE with dropout, a subword prefix or a word suffix")
    return state


def _not_supported(found: str) -> KoreanLLMError:
    return KoreanLLMError(
        f"the base's tokenizer is {found}, which cannot be extended yet; expected byte-level BPE (as in SmolLM2,"
        " OLMo-2, Llama-3, Qwen): take such a base, or leave the section 'vocabulary' out of the recipe."
    )


def _is_byte_level(step: dict[str, Any] | None) -> bool:
    """Whether a pre-tokenizer or decoder of tokenizer.json is ByteLevel or a sequence that holds it."""
    if step is None:
        return False
    parts = step.get("pretokenizers", []) + step.get("decoders", [])
    return step["type"] == "ByteLevel" or any(map(_is_byte_level, parts))


def token_bytes(state: dict[str, Any]) -> dict[int, bytes]:
    """Id → bytes of every vocabulary entry that text can be cut into, so without added and special tokens."""
    added = {token["content"] for token in state["added_tokens"]}
    entries = state["model"]["vocab"].items()
    return {id: piece_bytes(piece) for piece, id in entries if piece not in added and _BYTE.keys() >= set(piece)}


def first_free_id(state: dict[str, Any]) -> int:
    """The id after the highest one in use, added and special tokens included."""
    ids = [*state["model"]["vocab"].values(), *(token["id"] for token in state["added_tokens"])]
    return int(max(ids)) + 1


def word_ids(backend: Tokenizer, word: str) -> list[int] | None:
    """Ids of a word under the tokenizer's own merges; None where it cannot write every byte of the word."""
    tokens = backend.model.tokenize(word)
    return [token.id for token in tokens] if "".join(token.value for token in tokens) == word else None
