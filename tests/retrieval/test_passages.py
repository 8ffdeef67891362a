"""Passages: exact spans, nothing lost, nothing twice."""

from __future__ import annotations

import pytest

from korean_llm.retrieval.passages import passages

TEXT = (
    "첫 문단의 첫 문장이다. 둘째 문장은 조금 더 길게 이어진다. 셋째 문장이다.\n\n"
    "둘째 문단은 여기서 시작한다.   사이에 빈칸이 여럿 있다.\n이어지는 줄도 같은 문단이다.\n\n\n"
    "마지막 문단 😀 이모지와 漢字도 있다."
)


@pytest.mark.parametrize("target", [50, 60, 120, 10_000])
def test_spans_cover_every_visible_character_once_and_in_order(target: int) -> None:
    covered = [0] * len(TEXT)
    last = 0
    for passage in passages(0, TEXT, target):
        assert passage.start >= last and passage.end > passage.start
        last = passage.end
        for place in range(passage.start, passage.end):
            covered[place] += 1
    assert all(count == 1 for count, character in zip(covered, TEXT, strict=True) if not character.isspace())
    assert max(covered) == 1


def test_a_passage_is_not_much_longer_than_asked() -> None:
    sizes = [p.end - p.start for p in passages(0, TEXT * 5, 80)]
    assert len(sizes) > 5
    assert max(sizes) <= 80


def test_one_endless_sentence_is_cut() -> None:
    sizes = [p.end - p.start for p in passages(0, "가나다라 " * 3_000, 400)]
    assert max(sizes) <= 2_000
    assert sum(sizes) >= 3_000 * 4


@pytest.mark.parametrize("text", ["", "   \n\n  ", "\n"])
def test_nothing_gives_nothing(text: str) -> None:
    assert list(passages(0, text, 100)) == []
