"""Which family a tokenizer belongs to."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from korean_llm.vocabulary.byte_level import ByteLevel, is_byte_level
from korean_llm.vocabulary.family import Family, backend_state, not_supported
from korean_llm.vocabulary.sentencepiece_bpe import SentencePieceBPE, is_sentencepiece


def family_of(tokenizer: PreTrainedTokenizerBase) -> Family:
    """The tokenizer as one of the families that can be extended. Raises KoreanLLMError for any other."""
    state = backend_state(tokenizer)
    if is_sentencepiece(state):
        return SentencePieceBPE(tokenizer, state)
    if state["model"]["byte_fallback"]:
        raise not_supported("BPE with byte fallback that does not write spaces as ▁")
    if not is_byte_level(state):
        raise not_supported("BPE over characters")
    return ByteLevel(tokenizer, state)
