"""Opening what a run has to answer with, and saying plainly what it lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from korean_llm.answering.answer import Request
from korean_llm.answering.library import Library, korean_count, open_answerer, open_index
from korean_llm.cli import app
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

CPU = Machine("cpu", 1)


def test_an_index_and_an_answerer(run_folder: Path) -> None:
    assert open_index(run_folder, CPU).search("월요일", k=1)[0].document_id == "library"
    for mode in ("extractive", "auto"):
        assert open_answerer(run_folder, mode, CPU).mode == "extractive"


def test_a_run_without_an_index_names_the_next_command(own_run: Path) -> None:
    shutil.rmtree(own_run / "retrieval")
    with pytest.raises(KoreanLLMError, match=r"has no search index .*--only retrieval"):
        open_index(own_run, CPU)
    (own_run / "recipe.yaml").write_text("name: small\nbase: ./source\n", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="add a section `retrieval`"):
        open_index(own_run, CPU)


def test_no_run_no_mode_no_model(own_run: Path, tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match="is not a run"):
        open_index(tmp_path / "nothing", CPU)
    with pytest.raises(KoreanLLMError, match="'poetic' is not known; expected auto, extractive or generative"):
        open_answerer(own_run, "poetic", CPU)
    shutil.rmtree(own_run / "base")
    assert open_answerer(own_run, "extractive", CPU).answer("도서관은 언제 쉬나요?").found
    with pytest.raises(KoreanLLMError, match="holds no finished model"):
        open_answerer(own_run, "generative", CPU)


def test_small_models_are_not_trusted_and_it_is_said(library: Library) -> None:
    assert library.default_mode == "extractive"
    assert "모델이 작아서" in library.notice("extractive")
    assert "믿을 수 없습니다" in library.notice("generative")
    served = Library(library.folder, CPU, endpoint="http://127.0.0.1:8000/v1")
    assert served.default_mode == "generative"
    assert "사실과 다를 수 있습니다" in served.notice("generative")
    assert "작아서" not in served.notice("extractive")


def test_a_model_is_opened_once_and_only_for_the_mode_that_needs_it(run_folder: Path) -> None:
    library = Library(run_folder, CPU)
    library.answerer("extractive")
    assert library.ready("extractive") and not library.ready("generative")
    assert library.answerer("generative").generator is library.answerer("generative").generator
    assert library.ready("generative")


def test_example_questions_are_short_found_and_of_different_documents(library: Library) -> None:
    assert library.example_questions(4) == ["배추는 몇 시간 절이나요?", "도서관은 무슨 요일에 쉬나요?"]
    assert library.example_questions(1) == ["배추는 몇 시간 절이나요?"]


@pytest.mark.parametrize(
    ("number", "text"), [(134_515_008, "1.3억"), (7_241_732_096, "72억"), (1_710_000, "170만"), (33_000, "3.3만")]
)
def test_korean_count(number: int, text: str) -> None:
    assert korean_count(number) == text


def test_the_verb_ask(run_folder: Path) -> None:
    question = "도서관은 무슨 요일에 쉬나요?"
    shown = CliRunner().invoke(app, ["ask", str(run_folder), question, "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    assert "버들도서관은 매주 월요일에 쉽니다. [1]" in shown.stdout
    assert "[1] 버들도서관 이용 안내 — library 0–19" in shown.stdout
    as_json = CliRunner().invoke(app, ["ask", str(run_folder), question, "--device", "cpu", "--json"])
    value = json.loads(as_json.stdout)
    assert value["citations"][0]["end"] == 19 and value["mode"] == "extractive"


def test_kept_answers_are_given_again_only_where_the_flag_is_on(own_run: Path) -> None:
    question = "도서관은 무슨 요일에 쉬나요?"
    plain = Library(own_run, CPU)
    plain.answerer("extractive").answer(question)
    assert plain.answerer("extractive").answer(question).kept_from == ""
    assert not (own_run / "records").exists()
    keeping = Library(own_run, CPU, cache=True)
    assert keeping.answerer("extractive").answer(question).kept_from == ""
    assert keeping.answerer("extractive").answer(question).kept_from == question
    assert keeping.answerer("extractive").answer(Request(question, fresh=True)).kept_from == ""
