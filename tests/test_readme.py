"""The README's commands are real: each parses as it stands, the cheap ones are run, and its Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from peft import LoraConfig, get_peft_model

from korean_llm.cli import app
from tests.conftest import make_model, make_tokenizer
from tests.vocabulary.tiny import korean_documents, save_base_tokenizer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line]


def python_block(part: str) -> str:
    return next(block for block in blocks("python") if part in block)


OURS = [words[1:] for words in commands() if words[0] == "korean-llm"]


def test_there_is_something_to_check() -> None:
    assert len(OURS) >= 10
    assert len(blocks("python")) == 3
    assert {words[0] for words in commands()} == {"make", "korean-llm", "pip"}


@pytest.mark.parametrize("arguments", OURS, ids=" ".join)
def test_every_command_parses(arguments: list[str]) -> None:
    group = typer.main.get_command(app)
    command = group.get_command(None, arguments[0])  # type: ignore[attr-defined]
    assert command is not None, f"no such verb: {arguments[0]}"
    command.make_context(arguments[0], arguments[1:])


@pytest.mark.parametrize("arguments", [a for a in OURS if a[0] in ("check", "stages")], ids=" ".join)
def test_cheap_commands_run(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "korean_llm.cli", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "tokens per step" in result.stdout


def test_make_targets_and_paths_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for words in commands():
        if words[0] == "make":
            assert words[1] in targets
    paths = set(re.findall(r"recipes/[a-z0-9-]+\.(?:yaml|md)", README, flags=re.IGNORECASE))
    assert len(paths) >= 5
    for path in paths | {"constraints.txt", "LICENSE", "CHANGELOG.md"}:
        assert (ROOT / path).exists(), path


def test_every_recipe_stands_in_both_tables() -> None:
    table = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert recipe.name in README
        assert recipe.name in table


def test_loading_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, model = make_tokenizer(), make_model(len(make_tokenizer()))
    folder = tmp_path / "runs" / "quickstart"
    model.save_pretrained(folder / "pretraining" / "model")
    tokenizer.save_pretrained(folder / "pretraining" / "model")
    get_peft_model(model, LoraConfig(target_modules="all-linear")).save_pretrained(folder / "instruction" / "adapter")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(python_block("PeftModel"), names)
    assert type(names["model"]).__name__.startswith("PeftModel")


def test_searching_own_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(python_block("Index.build"), {})
    assert "도서관은 매주 월요일에 쉽니다." in capsys.readouterr().out


def test_extending_a_tokenizer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    save_base_tokenizer("llama", tmp_path / "Llama-2-7b-hf")
    (tmp_path / "law.txt").write_text("\n".join(korean_documents()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(python_block("new_tokens"), {})
    assert capsys.readouterr().out.startswith("extend by ")
    assert (tmp_path / "llama-2-korean" / "tokenizer.model").is_file()
