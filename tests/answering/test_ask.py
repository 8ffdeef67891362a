"""The verb `ask` as people use it: text, JSON, conversations, agents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from korean_llm.cli import app
from korean_llm.errors import KoreanLLMError
from tests.answering.speaker import Server

QUESTION = "버들도서관은 무슨 요일에 쉬나요?"
SAID = "버들도서관은 매주 월요일에 쉽니다 [1]."


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ask", *map(str, arguments), "--device", "cpu"])


def test_json_tells_the_time_to_the_first_text(run_folder: Path) -> None:
    value = json.loads(ask(run_folder, QUESTION, "--json").stdout)
    assert 0 < value["first_s"] <= value["whole_s"] and value["steps"] == []
    assert value["mode"] == "extractive" and value["citations"]


def test_sampling_goes_to_the_endpoint(run_folder: Path, server: Server) -> None:
    server.says = SAID
    options = ("--endpoint", server.url, "--agent", "--temperature", 0.5, "--top-p", 0.9, "--max-new-tokens", 40)
    shown = ask(run_folder, QUESTION, *options)
    assert shown.exit_code == 0, shown.output
    assert SAID in shown.stdout and "[1] 버들도서관 이용 안내" in shown.stdout
    assert f"찾음: {QUESTION} →" in shown.stderr and "찾음" not in shown.stdout
    asked = server.asked[-1]
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"]) == (0.5, 0.9, 40)


def test_a_conversation_grows_in_its_file(run_folder: Path, server: Server, tmp_path: Path) -> None:
    talk = tmp_path / "talk.json"
    server.says = SAID
    options = ("--endpoint", server.url, "--agent", "--history", talk)
    assert ask(run_folder, "버들도서관은 월요일에 쉬나요?", *options).exit_code == 0
    value = json.loads(ask(run_folder, "그럼 화요일은요?", *options, "--json").stdout)
    assert value["understood"] == "버들도서관은 화요일에 쉬나요?"
    assert [step["kind"] for step in value["steps"]] == ["rewrite", "search"]
    assert [row["question"] for row in json.loads(talk.read_text(encoding="utf-8"))] == [
        "버들도서관은 월요일에 쉬나요?",
        "그럼 화요일은요?",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--agent", "--mode", "extractive"), "--agent needs a model that writes"),
        (("--four-bit", "--mode", "generative"), "--four-bit needs a GPU"),
        (("--endpoint", "http://169.254.169.254/v1"), "link-local or metadata address"),
        (("--endpoint", "http://me:geheim@127.0.0.1/v1"), "user name or password"),
        (("--history", "."), "--history . is no conversation"),
        (("--mode", "generative", "--top-p", "0"), "top_p 0.0 is not accepted"),
    ],
)
def test_bad_input_in_one_sentence(run_folder: Path, options: tuple[str, ...], words: str) -> None:
    error = ask(run_folder, QUESTION, *options).exception
    assert isinstance(error, KoreanLLMError) and words in str(error) and "geheim" not in str(error)


def test_a_file_that_is_no_conversation_is_left_alone(run_folder: Path, tmp_path: Path) -> None:
    for text in ('{"question": 1}', "[1]", "kein JSON", '[{"question": "a"}]'):
        path = tmp_path / "talk.json"
        path.write_text(text, encoding="utf-8")
        assert isinstance(ask(run_folder, QUESTION, "--history", path).exception, KoreanLLMError)
        assert path.read_text(encoding="utf-8") == text
