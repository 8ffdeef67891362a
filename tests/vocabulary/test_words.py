"""Which text tokens are learned from."""

from __future__ import annotations

import gzip
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.words import count_runs, cut_words, korean_texts, morpheme_starts
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


def test_counts_runs_of_hangul_with_the_space_before_them(extension: Extension) -> None:
    texts = ["이른 아침마다  값이 (이른) GPU는\n아침마다 1가2", "no Hangul"]
    counts, num_bytes = count_runs(extension.family, texts)
    assert num_bytes == sum(len(text.encode()) for text in texts)
    third = "값이" if extension.kind == "llama" else " 값이"  # a double space is one token of its own there
    assert counts == {"이른": 2, " 아침마다": 1, third: 1, "는": 1, "아침마다": 1, "가": 1}


def test_words_are_normalised_as_the_base_does(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "이른 아침마다")
    for kind in ("qwen", "llama3"):
        base_tokenizer(kind).save_pretrained(tmp_path / kind)
    assert set(count_runs(family_of(tmp_path / "qwen"), [decomposed])[0]) == {"이른", " 아침마다"}
    assert "이른" not in count_runs(family_of(tmp_path / "llama3"), [decomposed])[0]


def test_words_are_cut_as_the_base_cuts_them(extension: Extension) -> None:
    runs = Counter({" 아침마다": 3, "뷁ㅋ": 2, "니다": 1})
    words = cut_words(extension.family, runs, with_morphemes=False)
    names = dict(extension.family.raw) | dict(enumerate(words.letters, extension.family.first_id))
    ends = np.cumsum(words.lengths)
    symbols = [words.symbols[end - length : end] for end, length in zip(ends, words.lengths, strict=True)]
    assert [b"".join(names[int(id)] for id in ids).decode() for ids in symbols] == list(runs)
    assert words.counts.tolist() == [3, 2, 1]
    if extension.kind == "llama":
        assert "뷁".encode() in words.letters
        assert all(len(letter) == 3 for letter in words.letters)
    else:
        assert words.letters == []
        assert [list(map(int, ids)) for ids in symbols] == [extension.family.word_ids(run.encode()) for run in runs]


def test_morphemes_begin_where_kiwi_says() -> None:
    starts = morpheme_starts([" 할머니는", "아침마다", "값"])
    assert starts == [{1 + len("할머니".encode())}, {len("아침".encode())}, set()]
