"""The Korean words that new tokens are learned from, cut out of the corpus as the base's tokenizer cuts them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from korean_llm import console
from korean_llm.corpus.documents import TRAIN, read_documents
from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import holds_hangul_bytes
from korean_llm.vocabulary.byte_level import piece_bytes


def korean_texts(corpus: Path, max_bytes: int, seed: int) -> Iterator[str]:
    """Korean training documents of about max_bytes of UTF-8 at most, thinned evenly over the corpus where it is larger.

    Which documents are read depends on their ids and the seed alone, not on their order.
    """
    path = corpus / TRAIN
    total = sum(len(document.text.encode()) for document in read_documents(path) if document.language == "ko")
    for document in read_documents(path):
        if document.language == "ko" and _position(document.id, seed) * total < max_bytes:
            yield document.text


def _position(id: str, seed: int) -> float:
    """A number in [0, 1) that is fixed by id and seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:6]) / 2**48


def count_words(backend: Tokenizer, corpus: Path, max_bytes: int, seed: int) -> tuple[Counter[str], int]:
    """Words that hold Hangul, in the byte-level alphabet, with their counts; and the bytes of text they come from.

    Raises KoreanLLMError where the training documents hold no Hangul.
    """
    counts: Counter[str] = Counter()
    num_bytes = 0
    for text in console.progress(korean_texts(corpus, max_bytes, seed), "counting Korean words"):
        num_bytes += len(text.encode())
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    found = Counter({word: count for word, count in counts.items() if holds_hangul_bytes(piece_bytes(word))})
    if not found:
        raise KoreanLLMError(
            "the corpus has no Korean training text to learn tokens from; name a Korean corpus in corpus.sources,"
            " or leave the section 'vocabulary' out of the recipe."
        )
    return found, num_bytes
