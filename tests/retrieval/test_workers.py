"""Two processes find exactly what one finds."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import workers
from korean_llm.retrieval.analyzer import Analyzer
from korean_llm.retrieval.bulk import count_texts
from korean_llm.retrieval.workers import Workers
from tests.retrieval.conftest import DOCUMENTS


def test_two_processes_count_what_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_MIN_CHARS", 0)
    analyzer = Analyzer(dictionary=("버들 도서관",))
    texts = [row["text"] for row in DOCUMENTS] + ["", "버들 도서관"]
    with Workers(analyzer, 1, 10) as one, Workers(analyzer, 2, 10) as two:
        assert not one.processes and len(two.processes) == 2
        alone, together = count_texts(analyzer, texts, one), count_texts(analyzer, texts, two)
        for field in fields(alone):
            assert np.array_equal(getattr(alone, field.name), getattr(together, field.name))
        for process in two.processes:
            process.kill()
        with pytest.raises(KoreanLLMError, match=r"ended early .*--workers 1"):
            count_texts(analyzer, texts, two)
