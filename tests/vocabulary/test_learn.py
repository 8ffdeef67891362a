"""The learner against a slow one that recounts everything, and the three conditions of a merge."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from tokenizers import Tokenizer

from korean_llm.hangul import holds_hangul_bytes
from korean_llm.vocabulary.learn import Learner, Merge, Rules, Words
from korean_llm.vocabulary.words import count_runs, cut_words, korean_texts
from tests.reference import bpe
from tests.vocabulary.conftest import NEW_TOKENS, Extension

Plain = list[tuple[list[int], int]]


def plain_words(extension: Extension) -> Plain:
    """The runs of the corpus as base ids."""
    counts, _ = count_runs(extension.family, korean_texts(extension.corpus, 10**9, seed=1))
    return [(ids, count) for run, count in counts.items() if (ids := extension.family.word_ids(run.encode()))]


def packed(words: Plain, edges: list[bool] | None = None) -> Words:
    flat = [id for ids, _ in words for id in ids]
    starts = [i == 0 for ids, _ in words for i in range(len(ids))]
    lengths, counts = [len(ids) for ids, _ in words], [count for _, count in words]
    return Words(np.array(flat), np.array(lengths), np.array(counts), np.array(edges or starts), [])


def learner_for(extension: Extension, words: Plain, min_count: int = 2) -> Learner:
    return Learner(packed(words), extension.family.rules(), min_count)


@pytest.mark.parametrize("min_count", [2, 20])
def test_learns_what_a_full_recount_before_every_merge_learns(byte_level: Extension, min_count: int) -> None:
    words, raw = plain_words(byte_level), byte_level.family.raw
    merges = list(learner_for(byte_level, words, min_count).merges())
    old = [raw[id] for id in sorted(raw)]
    slow = bpe.learn([([raw[id] for id in ids], count) for ids, count in words], old, len(merges) + 1, min_count)
    known = dict(raw) | {merge.id: merge.raw for merge in merges}
    assert [(known[m.parts[0]], known[m.parts[1]], m.count) for m in merges] == slow
    assert len(slow) > 100
    assert min(count for *_, count in slow) >= min_count


def test_order_of_words_does_not_matter(byte_level: Extension) -> None:
    words = plain_words(byte_level)
    shuffled = random.Random(5).sample(words, len(words))
    assert list(learner_for(byte_level, words).merges()) == list(learner_for(byte_level, shuffled).merges())


def test_results_prove_hangul_are_new_and_stand_for_base_tokens(extension: Extension) -> None:
    old = extension.family.raw
    results = [merge.raw for merge in extension.merges]
    assert all(map(holds_hangul_bytes, results))
    assert len(set(results)) == len(results)
    assert not set(results) & set(old.values())
    assert [merge.id for merge in extension.merges] == list(
        range(len(extension.base), len(extension.base) + NEW_TOKENS)
    )
    for merge in extension.merges:
        assert b"".join(old[id] for id in merge.base_ids) == merge.raw


def ids_of(text: str) -> list[int]:
    return list(text.encode())


RULES = {"raw": {i: bytes([i]) for i in range(256)}, "first_id": 256, "encode": list}


def byte_learner(words: Plain, **changes: object) -> list[Merge]:
    """Merges over a base whose tokens are the 256 bytes."""
    return list(Learner(packed(words), Rules(**(RULES | changes)), min_count=1).merges())  # type: ignore[arg-type]


def test_text_without_hangul_yields_nothing() -> None:
    assert byte_learner([(ids_of("ꀀꀁ日本語ㄅㄆ hello かな"), 99)]) == []


def test_a_lead_byte_shared_with_other_scripts_does_not_count_alone() -> None:
    merges = byte_learner([(ids_of(" 가"), 9)])
    assert [merge.raw for merge in merges] == ["가".encode()[:2], " 가".encode()[:3], " 가".encode()]


def test_a_pair_whose_result_exists_is_passed_over() -> None:
    raw = {i: bytes([i]) for i in range(256)} | {256: "다".encode()}
    merges = byte_learner([(ids_of("다"), 9)], raw=raw, first_id=257)
    assert [merge.raw for merge in merges] == ["다".encode()[:2]]


def test_a_result_that_would_be_cut_otherwise_alone_is_passed_over() -> None:
    words = [(ids_of("다"), 9)]
    assert byte_learner(words, encode=lambda raw: None) == []
    assert byte_learner(words, encode=lambda raw: list(raw[::-1])) == []


def test_overlapping_neighbours_are_merged_from_the_left() -> None:
    merges = byte_learner([(ids_of("ㅋㅋㅋㅋㅋ"), 4)])
    texts = [merge.raw.decode(errors="replace") for merge in merges]
    assert texts[1:] == ["ㅋ", "ㅋㅋ", "ㅋㅋㅋ", "ㅋㅋㅋㅋㅋ"]
    assert [merge.count for merge in merges[1:]] == [20, 16, 4, 4]


def test_tokens_left_are_what_the_text_takes(extension: Extension) -> None:
    """The learner's own count against the finished tokenizer's, run by run."""
    counts, _ = count_runs(extension.family, korean_texts(extension.corpus, 10**9, seed=1))
    bare = Tokenizer.from_str(
        json.dumps(
            extension.family.extended(extension.merges, extension.rows)
            | {"normalizer": None, "pre_tokenizer": None, "added_tokens": []}
        )
    )
    taken = Counter[int]()
    for run, count in counts.items():
        taken.update({token.id: 0 for token in bare.model.tokenize(extension.family.entry(run.encode()))})
        for token in bare.model.tokenize(extension.family.entry(run.encode())):
            taken[token.id] += count
    learner = Learner(cut_words(extension.family, counts, True), extension.family.rules(), 2, 0.5)
    merges = list(islice(learner.merges(), len(extension.merges)))
    assert merges == extension.merges
    assert learner.tokens == merges[-1].tokens_left == taken.total()
    assert learner.produced() == {merge.id: taken[merge.id] for merge in merges}


def test_a_letter_in_byte_tokens_becomes_a_token_before_it_is_joined(sentencepiece: Extension) -> None:
    made = {merge.raw: merge for merge in sentencepiece.merges}
    letters = [merge for merge in sentencepiece.merges if len(merge.parts) == 3]
    assert len(letters) > 20
    for merge in letters:
        assert len(merge.raw.decode()) == 1
        assert list(merge.parts) == merge.base_ids
    known = {sentencepiece.family.entry_bytes(piece) for piece in sentencepiece.base.get_vocab()}
    for merge in sentencepiece.merges:
        for letter in merge.raw.decode():
            own = letter.encode()
            assert own in known or made[own].id <= merge.id


def test_a_token_that_cuts_a_morpheme_loses_to_one_that_does_not() -> None:
    """나라|가다 and 라가 stand equally often; 라가 crosses the border and ends inside 가다."""
    raw = {0: "나".encode(), 1: "라".encode(), 2: "가".encode(), 3: "다".encode()}
    rules = Rules(raw, 4, lambda whole: [next(i for i, r in raw.items() if r == c.encode()) for c in whole.decode()])
    words = [([0, 1, 2, 3], 10), ([1, 2], 1)]
    edges = [True, False, True, False, True, False]
    first = next(iter(Learner(packed(words, edges), rules, 1, 0.0).merges()))
    assert first.raw.decode() == "라가"
    first = next(iter(Learner(packed(words, edges), rules, 1, 0.5).merges()))
    assert first.raw.decode() in ("나라", "가다")
