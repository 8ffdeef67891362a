"""Two processes find what one finds, in order; one that ends early is named, one that is slow not waited for."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import workers
from korean_llm.retrieval.analyzer import Analyzer
from korean_llm.retrieval.bulk import count_texts, hash_pieces
from korean_llm.retrieval.workers import Workers
from tests.retrieval.conftest import DOCUMENTS


@pytest.fixture(autouse=True)
def little_text_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_MIN_CHARS", 0)


def wait_for(two: Workers) -> None:
    """Until the other process has loaded Kiwi."""
    while not two._is_ready(two.processes[0]):
        time.sleep(0.01)


def slowly(analyzer: Analyzer, chunk: Sequence[str]) -> list[str]:
    """Work that leaves the other process time to take its share."""
    time.sleep(0.01)
    return [analyzer.fields, *chunk]


def test_two_processes_count_what_one_counts() -> None:
    analyzer = Analyzer(dictionary=("버들 도서관",))
    texts = [row["text"] for row in DOCUMENTS] + ["", "버들 도서관"]
    with Workers(analyzer, 1, 10) as one, Workers(analyzer, 2, 10) as two:
        assert not one.processes and len(two.processes) == 1, "this process is the other one"
        alone = count_texts(analyzer, texts, one)
        before = count_texts(analyzer, texts, two)
        wait_for(two)
        for together in (before, count_texts(analyzer, texts, two)):
            for field in fields(alone):
                assert np.array_equal(getattr(alone, field.name), getattr(together, field.name))


def test_both_take_their_share_and_the_order_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    plain = workers._ask
    monkeypatch.setattr(workers, "_ask", lambda *given: (asked.append(given), plain(*given))[1])
    analyzer = Analyzer()
    chunks = [[f"{number}번째", "도서관에서", "책을"] for number in range(200)]
    with Workers(analyzer, 2, 10) as two:
        wait_for(two)
        together = list(two.map(hash_pieces, chunks))
    assert together == [hash_pieces(analyzer, chunk) for chunk in chunks]
    assert 0 < len(asked) < len(chunks)


def test_a_process_that_ended_is_named() -> None:
    with Workers(Analyzer(), 2, 10) as two:
        wait_for(two)
        two.processes[0].kill()
        with pytest.raises(KoreanLLMError, match=r"ended early .*--workers 1"):
            list(two.map(slowly, [["가"]] * 50))


def test_a_process_that_is_not_ready_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with Workers(Analyzer(), 2, 10) as two:
        monkeypatch.setattr(two, "_is_ready", lambda process: False)
        assert list(two.map(slowly, [["가"], ["나"]])) == [["kiwi+bigram", "가"], ["kiwi+bigram", "나"]]


def test_work_that_fails_ends_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def failing(analyzer: Analyzer, chunk: Sequence[str]) -> None:
        done.append(chunk)
        raise ValueError(chunk[0])

    with Workers(Analyzer(), 1, 10) as one, pytest.raises(ValueError, match="가"):
        list(one.map(failing, [["가"], ["나"], ["다"]]))
    assert done == [["가"]]


class Found:
    """A result that can be watched."""


def test_what_is_handed_on_is_not_kept() -> None:
    living: list[weakref.ref[Found]] = []
    with Workers(Analyzer(), 1, 10) as one:
        for found in one.map(lambda analyzer, chunk: Found(), [["가"]] * 5):
            assert all(ref() is None for ref in living)
            living.append(weakref.ref(found))
            del found
    assert len(living) == 5
