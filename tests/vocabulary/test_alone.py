"""A bare tokenizer folder extended from Python and from the command line, and what a user can do wrong."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from korean_llm.cli import main
from korean_llm.errors import KoreanLLMError
from korean_llm.vocabulary import extend
from tests.vocabulary.tiny import ENGLISH, base_model, korean_documents, save_base_tokenizer

TEXTS = [*korean_documents(), *ENGLISH]


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_extends_a_bare_tokenizer(kind: str, tmp_path: Path) -> None:
    base = save_base_tokenizer(kind, tmp_path / "base")
    before = {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir()}
    report = extend(tmp_path / "base", TEXTS, 100, tmp_path / "out")
    new = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir()} == before
    assert report["new_tokens"] == 100
    assert len(new) == report["rows"]
    assert report["measured_on"] == "held-out"
    assert report["total"]["tokens"]["extended"] < report["total"]["tokens"]["base"]
    assert report["judged_for"].startswith("a 7B model")
    assert report["proof"]["changed_ids_without_hangul"] == report["proof"]["unreachable_tokens"] == 0
    for text in ENGLISH:
        assert new(text)["input_ids"] == base(text)["input_ids"]
    assert json.loads((tmp_path / "out" / "extension.json").read_text(encoding="utf-8")) == report
    assert len((tmp_path / "out" / "tokens.jsonl").read_text(encoding="utf-8").splitlines()) == 100
    assert (tmp_path / "out" / "tokenizer.model").exists() == (kind == "llama")
    sizes = [point["new_tokens"] for point in report["curve"]]
    tokens = [point["held_out_tokens"] for point in report["curve"]]
    assert (sizes[0], sizes[-1]) == (0, 100)
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[-1] == report["total"]["tokens"]["extended"]


@pytest.mark.parametrize("tied", [True, False])
def test_extends_a_model_beside_it(tied: bool, tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = save_base_tokenizer("smollm", base)
    base_model(len(tokenizer), tied=tied).save_pretrained(base)
    report = extend(base, TEXTS, 100, tmp_path / "out", model=base)
    old, new = (AutoModelForCausalLM.from_pretrained(folder) for folder in (base, tmp_path / "out"))
    assert new.config.vocab_size == report["rows"]
    assert report["judged_for"] == "the model's config.json"
    ids = torch.tensor([tokenizer("An English text of some words.")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(old(ids).logits, new(ids).logits[..., : len(tokenizer)])


def test_auto_takes_fewer_tokens_for_a_smaller_model(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = save_base_tokenizer("smollm", base)
    base_model(len(tokenizer)).save_pretrained(base)
    small = extend(base, TEXTS, "auto", tmp_path / "small", model=base)
    (base / "config.json").unlink()
    large = extend(base, TEXTS, "auto", tmp_path / "large")
    assert 0 < small["new_tokens"] < large["new_tokens"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["korean-llm", "vocabulary", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)  # type: ignore[arg-type]


def test_the_command_reads_every_kind_of_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_base_tokenizer("llama", tmp_path / "base")
    half = len(TEXTS) // 2
    (tmp_path / "a.txt").write_text("\n".join(text.replace("\n", " ") for text in TEXTS[:half]), encoding="utf-8")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in TEXTS[half:])
    out = str(tmp_path / "out")
    files = ["--corpus", str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl.gz")]
    base = ["--tokenizer", str(tmp_path / "base"), "--new-tokens", "80", "--out", out]
    assert run(monkeypatch, *base, *files, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    lines = sum(len(text.encode()) for text in TEXTS)
    assert 0.8 * lines < report["learned_from_bytes"] < lines
    assert run(monkeypatch, *base, *files) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err


def folder(tmp_path: Path, kind: str = "smollm") -> Path:
    save_base_tokenizer(kind, tmp_path / "base")
    return tmp_path / "base"


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match=r"has no tokenizer\.json; expected the folder of a tokenizer"):
        extend(tmp_path, TEXTS, 10, tmp_path / "out")


@pytest.mark.parametrize("kind", ["smollm", "llama"])
def test_an_extended_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    extend(folder(tmp_path, kind), TEXTS, 90, tmp_path / "once")
    with pytest.raises(KoreanLLMError, match="already has 90 tokens of an earlier extension"):
        extend(tmp_path / "once", TEXTS, 10, tmp_path / "twice")
    (tmp_path / "once" / "tokenizer_config.json").unlink()
    with pytest.raises(KoreanLLMError, match="was extended by korean-llm before"):
        extend(tmp_path / "once", TEXTS, 10, tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_too_many_tokens_for_the_corpus_or_for_ids(tmp_path: Path) -> None:
    base = folder(tmp_path)
    with pytest.raises(KoreanLLMError, match="yield only"):
        extend(base, TEXTS, 50_000, tmp_path / "out")
    with pytest.raises(KoreanLLMError, match="ids end at 2,147,483,647"):
        extend(base, TEXTS, 2**31, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"base"}


def test_files_that_contradict_each_other_leave_nothing_behind(tmp_path: Path) -> None:
    base = folder(tmp_path, "llama")
    data = (base / "tokenizer.model").read_bytes()
    (base / "tokenizer.model").write_bytes(data.replace("다".encode(), "탛".encode()))
    with pytest.raises(KoreanLLMError, match="expected equal ids"):
        extend(base, TEXTS, 50, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"base"}


@pytest.mark.parametrize(
    ("number", "said"), [("many", "expected a whole number"), ("0", "expected"), ("-5", "expected")]
)
def test_a_number_that_is_none(
    number: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = folder(tmp_path)
    arguments = [
        "--tokenizer",
        str(base),
        f"--new-tokens={number}",
        "--out",
        str(tmp_path / "o"),
        "--corpus",
        "none.txt",
    ]
    assert run(monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_corpus_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = folder(tmp_path)
    (tmp_path / "c.jsonl").write_text('{"body": "가"}\n', encoding="utf-8")
    arguments = ["--tokenizer", str(base), "--new-tokens", "9", "--out", str(tmp_path / "out"), "--corpus"]
    assert run(monkeypatch, *arguments, str(tmp_path / "none.txt")) == 2
    assert "none.txt does not exist; expected a .txt" in capsys.readouterr().err
    assert run(monkeypatch, *arguments, str(tmp_path / "c.jsonl")) == 2
    assert 'c.jsonl line 1: expected a field "text", found body' in capsys.readouterr().err
