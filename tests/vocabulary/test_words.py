"""Which text tokens are learned from."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.words import count_runs, cut_words, korean_texts, morpheme_starts, readings
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


def test_sources_are_read_by_their_shares(tmp_path: Path) -> None:
    rows = [("big", f"큰 {i:02}") for i in range(60)] + [("small", f"작은 {i:02}") for i in range(10)]
    documents = [
        {"id": f"{source}-{i}", "source": source, "language": "ko", "title": "", "text": text}
        for i, (source, text) in enumerate(rows)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in documents)
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "shares.json").write_text('{"big": 0.3, "small": 0.2, "english": 0.5}')
    read = Counter(korean_texts(tmp_path, 10**9, seed=1))
    big, small = ([read[text] for source, text in rows if source == name] for name in ("big", "small"))
    assert set(big) == {1}
    assert min(small) >= 2
    size = {name: sum(len(text.encode()) for source, text in rows if source == name) for name in ("big", "small")}
    wanted = size["big"] * 2 / 3
    assert abs(sum(count * size["small"] / 10 for count in small) - wanted) <= 2 * size["small"] / 10
    halved = list(korean_texts(tmp_path, int(size["big"] + wanted) // 2, seed=1))
    assert 20 < sum("큰" in text for text in halved) < 40
    assert 12 < sum("작은" in text for text in halved) < 24


def test_readings_keep_the_shares_and_the_cap() -> None:
    sizes, shares = {"a": 1_000, "b": 10, "c": 50}, {"a": 0.5, "b": 0.25, "c": 0.15, "other": 0.1}
    for cap in (10**9, 800):
        times = readings(sizes, shares, cap)
        read = {name: times[name] * size for name, size in sizes.items()}
        assert {name: round(size / read["a"], 9) for name, size in read.items()} == {"a": 1, "b": 0.5, "c": 0.3}
        assert min(cap, 1_800) == pytest.approx(sum(read.values()))
    assert readings({}, shares, 10) == {}


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
