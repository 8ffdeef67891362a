"""Duplicates against a reference that compares all pairs of texts exactly."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from korean_llm.corpus.duplicates import Duplicates, shingles, text_hash
from tests.reference.jaccard import jaccard

ROOT = Path(__file__).resolve().parents[2]
SURE = 0.13  # at least three standard deviations of an estimate from 128 permutations


def syllables(source: random.Random, count: int) -> str:
    return "".join(chr(0xAC00 + source.randrange(11_172)) for _ in range(count))


def changed(source: random.Random, text: str, share: float) -> str:
    """The text with one stretch of it replaced."""
    size = round(len(text) * share)
    start = source.randrange(len(text) - size + 1)
    return text[:start] + syllables(source, size) + text[start + size :]


def pairs(number: int, length: int = 900) -> list[tuple[str, str]]:
    source = random.Random(23)
    found = []
    for index in range(number):
        text = syllables(source, length)
        found.append((text, changed(source, text, 0.6 * (index / number) ** 2)))
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.65, 0.8])
def test_near_duplicates_are_those_of_high_jaccard_similarity(threshold: float) -> None:
    clear = {True: 0, False: 0}
    for one, other in pairs(80):
        exact = jaccard(one, other)
        duplicates = Duplicates(threshold, seed=1)
        assert duplicates.find("one", one) is None
        found = duplicates.find("other", other)
        if exact == 1:
            assert found == ("duplicate", "one")
        elif exact >= threshold + SURE:
            assert found == ("near_duplicate", "one"), exact
            clear[True] += 1
        elif exact <= threshold - SURE:
            assert found is None, exact
            clear[False] += 1
    assert min(clear.values()) >= 8, clear


def test_a_collection_keeps_what_comparing_all_pairs_keeps() -> None:
    source = random.Random(29)
    texts: list[str] = []
    for _ in range(25):
        text = syllables(source, source.randrange(150, 700))
        texts += [text, text, changed(source, text, 0.01), changed(source, text, 0.6)]
    source.shuffle(texts)
    duplicates = Duplicates(0.8, seed=3)
    kept: dict[str, str] = {}
    reasons = []
    for number, text in enumerate(texts):
        near = {id: jaccard(text, other) for id, other in kept.items()}
        found = duplicates.find(str(number), text)
        if found is None:
            assert max(near.values(), default=0) < 0.8 + SURE
            kept[str(number)] = text
        else:
            reason, earlier = found
            reasons.append(reason)
            assert near[earlier] >= 0.8 - SURE
            assert (reason == "duplicate") == (kept[earlier] == text)
    assert 50 <= len(kept) <= 52
    assert reasons.count("duplicate") >= 15 and reasons.count("near_duplicate") >= 15


def test_copies_that_differ_in_layout_only_are_exact() -> None:
    duplicates = Duplicates(1.0, seed=1)
    assert duplicates.find("a", "강가의 버드나무는 봄마다\n가지를 늘어뜨린다.") is None
    assert duplicates.find("b", " 강가의버드나무는\u3000봄마다 가지를\n\n늘어뜨린다. ") == ("duplicate", "a")
    assert duplicates.find("c", "강가의 버드나무는 봄마다 가지를 늘어뜨린다") is None, "a mark is not layout"


def test_one_means_exact_only() -> None:
    one, other = "가나다라마바사아자차카타파하" * 30, "가나다라마바사아자차카타파하" * 30 + "끝"
    again = one + one  # the same shingles, so a similarity of exactly 1, and yet another text
    strict, loose = Duplicates(1.0, 1), Duplicates(0.6, 1)
    assert jaccard(one, again) == 1
    assert [strict.find("a", one), strict.find("b", other), strict.find("c", again)] == [None, None, None]
    assert [loose.find("a", one), loose.find("b", other)] == [None, ("near_duplicate", "a")]


def test_what_is_dropped_is_not_remembered() -> None:
    """A chain of small changes is compared with what was kept, not with what was dropped."""
    source = random.Random(31)
    first = syllables(source, 1_000)
    second = syllables(source, 100) + first[100:]
    third = second[:100] + syllables(source, 250) + second[350:]
    assert jaccard(first, third) < 0.5 < jaccard(second, third)
    duplicates = Duplicates(0.55, seed=1)
    assert duplicates.find("first", first) is None
    assert duplicates.find("second", second) == ("near_duplicate", "first")
    assert duplicates.find("third", third) is None


def test_short_texts_are_told_apart() -> None:
    duplicates = Duplicates(0.8, seed=1)
    texts = ["가", "나", "가나", "가나다", "가나다라", "가나다라마", "나다라마바"]
    assert [duplicates.find(str(n), text) for n, text in enumerate(texts)] == [None] * len(texts)
    assert [duplicates.find("again", text) for text in texts] == [("duplicate", str(n)) for n in range(len(texts))]


def test_shingles_are_runs_of_five_without_spaces() -> None:
    assert shingles("가나 다라\n마바") == ["가나다라마", "나다라마바"]
    assert shingles("가나 다라마") == ["가나다라마"]
    assert shingles("가 나") == ["가나"]
    assert text_hash("가 나") == text_hash("가\n나") != text_hash("나 가")


def test_every_process_finds_the_same() -> None:
    """Also which of several earlier documents is named."""
    code = (
        "import random\n"
        "from korean_llm.corpus.duplicates import Duplicates\n"
        "source = random.Random(7)\n"
        "middle = [chr(0xAC00 + source.randrange(11172)) for _ in range(640)]\n"
        "found = Duplicates(0.75, 5)\n"
        "for n in range(8):\n"
        "    text = middle[:]\n"
        "    text[n * 60 : n * 60 + 60] = [chr(0xAC00 + source.randrange(11172)) for _ in range(60)]\n"
        "    found.find(str(n), ''.join(text))\n"
        "print(found.find('middle', ''.join(middle)), len(found.signatures))\n"
    )
    said = {
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(4)
    }
    assert len(said) == 1, said
    assert said.pop() in {f"('near_duplicate', '{n}') 8\n" for n in range(8)}
