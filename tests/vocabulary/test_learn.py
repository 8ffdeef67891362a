"""The learner against a slow one that recounts everything, and the three conditions of a merge."""

from __future__ import annotations

import random

import pytest

from korean_llm.hangul import holds_hangul_bytes
from korean_llm.vocabulary.byte_level import bytes_piece, first_free_id, token_bytes, tokenizer_state, word_ids
from korean_llm.vocabulary.learn import Learner, Merge
from korean_llm.vocabulary.words import count_words
from tests.reference import bpe
from tests.vocabulary.conftest import NEW_TOKENS, Extension

Words = list[tuple[list[int], int]]


def words_of(extension: Extension) -> Words:
    backend = extension.base.backend_tokenizer
    counts, _ = count_words(backend, extension.corpus, 10**9, seed=1)
    return [(ids, count) for word, count in counts.items() if (ids := word_ids(backend, word))]


def learner_for(extension: Extension, words: Words, min_count: int = 2) -> Learner:
    state, backend = tokenizer_state(extension.base), extension.base.backend_tokenizer
    return Learner(
        [(list(ids), count) for ids, count in words],
        token_bytes(state),
        first_free_id(state),
        min_count,
        lambda raw: word_ids(backend, bytes_piece(raw)),
    )


@pytest.mark.parametrize("min_count", [2, 20])
def test_learns_what_a_full_recount_before_every_merge_learns(extension: Extension, min_count: int) -> None:
    words = words_of(extension)
    raw = token_bytes(tokenizer_state(extension.base))
    merges = list(learner_for(extension, words, min_count).merges())
    old = [raw[id] for id in sorted(raw)]
    slow = bpe.learn([([raw[id] for id in ids], count) for ids, count in words], old, len(merges) + 1, min_count)
    known = dict(raw) | {merge.id: merge.raw for merge in merges}
    assert [(known[m.pair[0]], known[m.pair[1]], m.count) for m in merges] == slow
    assert len(slow) > 100
    assert min(count for *_, count in slow) >= min_count


def test_order_of_words_does_not_matter(extension: Extension) -> None:
    words = words_of(extension)
    shuffled = random.Random(5).sample(words, len(words))
    assert list(learner_for(extension, words).merges()) == list(learner_for(extension, shuffled).merges())


def test_results_prove_hangul_are_new_and_stand_for_base_tokens(extension: Extension) -> None:
    old = token_bytes(tokenizer_state(extension.base))
    results = [merge.raw for merge in extension.merges]
    assert all(map(holds_hangul_bytes, results))
    assert len({*results, *old.values()}) == len(results) + len(old)
    assert [merge.id for merge in extension.merges] == list(
        range(len(extension.base), len(extension.base) + NEW_TOKENS)
    )
    for merge in extension.merges:
        assert b"".join(old[id] for id in merge.base_ids) == merge.raw


def ids_of(text: str) -> list[int]:
    return list(text.encode())


def byte_learner(words: Words, **changes: object) -> list[Merge]:
    """Merges over a base whose tokens are the 256 bytes."""
    options = {"raw": {i: bytes([i]) for i in range(256)}, "first_id": 256, "min_count": 1, "encode": list}
    return list(Learner(words, **(options | changes)).merges())  # type: ignore[arg-type]


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
