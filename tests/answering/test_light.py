"""Answers by words alone load no deep-learning library, and Kiwi's model once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from korean_llm.kiwi import _kiwi, analyse, sentences, starts
from tests.answering.conftest import write_run

SCRIPT = """
import sys
from korean_llm.cli import app
try:
    app(["ask", sys.argv[1], "도서관은 언제 쉬나요?"])
except SystemExit as end:
    assert end.code in (0, None)
print([name for name in ("torch", "peft", "sentence_transformers", "gradio", "fastapi") if name in sys.modules])
"""


def test_an_answer_by_words_loads_no_model_library(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    found = subprocess.run([sys.executable, "-c", SCRIPT, str(run)], capture_output=True, text=True, timeout=120)
    assert "월요일" in found.stdout and found.stdout.splitlines()[-1] == "[]", found.stdout + found.stderr


def test_kiwi_is_loaded_once() -> None:
    _kiwi.cache_clear()
    list(analyse(["도서관은 쉽니다."]))
    sentences("도서관은 쉽니다. 책을 봅니다.")
    list(starts(["도서관은 쉽니다."]))
    assert _kiwi.cache_info().misses == 1
