"""The whole chain through the real command line on a small base, killed at every stage and run again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from korean_llm.artifact import load_manifest
from korean_llm.recipe import SECTIONS
from tests.conftest import TEXTS, make_model, make_tokenizer

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.chain

RECIPE = """
name: small
base: ./base
corpus:
  sources: {./ko: 0.7, ./en: 0.3}
  clean: {min_chars: 20}
  near_duplicates: 1.0
  holdout: 0.2
vocabulary: {new_tokens: 60}
pretraining:
  block_tokens: 32
  batch_blocks: 2
  phases:
    - {train: [new_input_rows, new_output_rows], tokens: 640, learning_rate: 1.0e-2}
    - {train: [lora, new_input_rows, new_output_rows], tokens: 640, learning_rate: 1.0e-2}
  checkpoint_every_steps: 3
  evaluate_every_steps: 5
  sample_prompts: ["오늘"]
instruction: {data: [./pairs], epochs: 2, max_tokens: 128, batch_examples: 4, learning_rate: 1.0e-2, lora: {rank: 4}}
export: {formats: [safetensors, gguf-q8_0], max_bits_per_byte_loss: 0.5}
retrieval: {documents: [./ko], questions: [./questions]}
evaluation: {holdout_bytes: 2_000, sample_prompts: ["오늘 아침"], sample_sentences: ["도서관은 아홉 시에 엽니다."]}
"""

STAGE_NAMES = ("base", *(name for name in SECTIONS if f"\n{name}:" in RECIPE))


def corpus(folder: Path, kind: str, language: str, rows: list[dict[str, str]]) -> None:
    folder.mkdir()
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "rows.jsonl").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    card = f"title: t\nkind: {kind}\nlanguage: {language}\nlicence: CC0-1.0\nsource: test\n"
    card += f"files: {{rows.jsonl: {sha256}}}\n"
    (folder / "card.yaml").write_text(card, encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with its base and corpora."""
    folder = tmp_path_factory.mktemp("chain")
    tokenizer = make_tokenizer()
    make_model(len(tokenizer), hidden=64).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    korean = [f"{TEXTS[n % 3]} {n}번째 날의 일기를 여기에 적어 둔다." for n in range(60)]
    english = [f"{TEXTS[3]} This is note number {n} of the year." for n in range(30)]
    for name, texts in (("ko", korean), ("en", english)):
        rows = [{"id": f"{name}-{n}", "title": "", "text": text} for n, text in enumerate(texts)]
        corpus(folder / name, "documents", name, rows)
    pairs = [{"id": f"p{n}", "instruction": f"{n} 다음 수는?", "input": "", "output": f"{n + 1}"} for n in range(24)]
    corpus(folder / "pairs", "instructions", "ko", pairs)
    question = {"id": "q", "question": "7번째 날", "document_id": "ko-7", "evidence": "7번째 날", "answer": ""}
    corpus(folder / "questions", "questions", "ko", [question])
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "korean_llm.cli", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=place, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def unbroken(place: Path) -> Path:
    """A run that nothing interrupted."""
    result = run(place, "run", "recipe.yaml", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    return place / "runs" / "small"


def test_every_stage_is_there_and_verifies(place: Path, unbroken: Path) -> None:
    assert all(load_manifest(unbroken / name) is not None for name in STAGE_NAMES)
    result = run(place, "show", "runs/small")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("verified") == len(STAGE_NAMES)


def test_a_second_run_skips_everything_quickly(place: Path, unbroken: Path) -> None:
    start = time.monotonic()
    result = run(place, "run", "recipe.yaml", "--device", "cpu")
    assert result.returncode == 0
    assert result.stderr.count("skipped, nothing changed") == len(STAGE_NAMES)
    assert time.monotonic() - start < 10


def test_a_changed_setting_runs_that_stage_and_what_follows(place: Path, unbroken: Path) -> None:
    (place / "changed.yaml").write_text(RECIPE.replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    result = run(place, "run", "changed.yaml", "--dry-run", "--out", "runs/small")
    assert result.returncode == 0
    verdicts = [line.split("│")[2].strip() for line in result.stdout.splitlines() if line.startswith("│")]
    assert verdicts == ["skip", "skip", "skip", "skip", "run", "run", "skip", "run"]


OPEN_PLAINLY = """
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
run = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(f"{run}/pretraining/model")
model = AutoModelForCausalLM.from_pretrained(f"{run}/pretraining/model").eval()
ids = tokenizer("도서관은 아홉 시에", return_tensors="pt")
print(model.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist())
adapted = PeftModel.from_pretrained(model, f"{run}/instruction/adapter").eval()
print(adapted.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist())
assert not any(name.startswith("korean_llm") for name in sys.modules)
"""


def test_plain_libraries_open_what_is_published(unbroken: Path, machine, tmp_path: Path) -> None:
    from korean_llm.modeling.load import load_model, load_tokenizer

    plain = [sys.executable, "-c", OPEN_PLAINLY, str(unbroken)]
    result = subprocess.run(plain, capture_output=True, text=True, check=True, cwd=tmp_path)
    extended, adapted = (json.loads(line) for line in result.stdout.splitlines() if line.startswith("["))
    for folder, expected in (("pretraining", extended), ("export", adapted)):
        model = load_model(unbroken / folder / "model", machine).eval()
        ids = load_tokenizer(unbroken / folder / "model")("도서관은 아홉 시에", return_tensors="pt")
        ours = model.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert ours[0].tolist() == expected, folder


def test_killed_at_every_stage_it_finishes_with_the_same_weights(place: Path, unbroken: Path) -> None:
    out = place / "runs" / "killed"
    chance, killed = random.Random(17), 0
    arguments = ("run", "recipe.yaml", "--device", "cpu", "--out", "runs/killed")
    for stage in STAGE_NAMES:
        process = subprocess.Popen(command(*arguments), cwd=place, env=environment(), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out / f"{stage}.partial").exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5 if stage in ("base", "corpus", "retrieval", "evaluation") else 2.0))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        assert run(place, "show", "runs/killed").returncode == 0, "what is complete verifies after every kill"
    assert killed >= len(STAGE_NAMES) - 2, "nearly every run was still at work when it was killed"
    result = run(place, *arguments)
    assert result.returncode == 0, result.stderr
    shown = run(place, "show", "runs/killed")
    assert shown.returncode == 0 and shown.stdout.count("verified") == len(STAGE_NAMES)
    for name in ("vocabulary", "pretraining", "export"):
        first, second = (load_file(folder / name / "model" / "model.safetensors") for folder in (unbroken, out))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
