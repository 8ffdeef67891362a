"""Which family a tokenizer belongs to."""

from __future__ import annotations

from pathlib import Path

from korean_llm.vocabulary.byte_level import ByteLevel, is_byte_level
from korean_llm.vocabulary.family import Family, file_state, not_supported
from korean_llm.vocabulary.sentencepiece_bpe import SentencePieceBPE, is_sentencepiece


def family_of(folder: Path) -> Family:
    """A folder's tokenizer as one of the families that can be extended. Raises KoreanLLMError for any other."""
    state = file_state(folder)
    if is_sentencepiece(state):
        return SentencePieceBPE(state)
    if state["model"]["byte_fallback"]:
        raise not_supported("BPE with byte fallback that does not write spaces as ▁")
    if not is_byte_level(state):
        raise not_supported("BPE over characters")
    return ByteLevel(state)
