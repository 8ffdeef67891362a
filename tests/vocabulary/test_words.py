"""Which text tokens are learned from."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

from korean_llm.vocabulary.byte_level import bytes_piece
from korean_llm.vocabulary.words import count_words, korean_texts
from tests.vocabulary.conftest import Extension
from tests.vocabulary.tiny import base_tokenizer, write_corpus


def test_all_korean_training_text_is_read_when_it_fits(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    texts = list(korean_texts(corpus, 10**9, seed=1))
    assert len(texts) == 135
    assert list(korean_texts(corpus, sum(len(text.encode()) for text in texts), seed=1)) == texts


def test_a_larger_corpus_is_thinned_evenly_and_independently_of_order(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    everything = list(korean_texts(corpus, 10**9, seed=1))
    half = sum(len(text.encode()) for text in everything) // 2
    chosen = list(korean_texts(corpus, half, seed=1))
    assert 40 < len(chosen) < 95
    assert sum(text in chosen for text in everything[:67]) > 15
    path = corpus / "train.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(reversed(lines))))
    assert set(korean_texts(corpus, half, seed=1)) == set(chosen)
    assert set(korean_texts(corpus, half, seed=2)) != set(chosen)


def test_counts_words_as_the_base_cuts_them(extension: Extension) -> None:
    counts, num_bytes = count_words(extension.base.backend_tokenizer, extension.corpus, 10**9, seed=1)
    texts = list(korean_texts(extension.corpus, 10**9, seed=1))
    assert num_bytes == sum(len(text.encode()) for text in texts)
    words = [
        word for text in texts for word, _ in extension.base.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    ]
    assert counts["ĠìķĦì¹¨ë§Īëĭ¤"] == words.count("ĠìķĦì¹¨ë§Īëĭ¤") > 0
    assert not any(word.isascii() for word in counts)


def test_words_are_normalised_as_the_base_does(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "이른 아침마다")
    corpus = write_corpus(tmp_path, korean=[decomposed] * 20)
    counts, _ = count_words(base_tokenizer("qwen").backend_tokenizer, corpus, 10**9, seed=1)
    assert set(counts) == {bytes_piece("이른".encode()), bytes_piece(" 아침마다".encode())}
    counts, _ = count_words(base_tokenizer("llama3").backend_tokenizer, corpus, 10**9, seed=1)
    assert not set(counts) & {bytes_piece("이른".encode())}
