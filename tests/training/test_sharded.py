"""Several processes train what one trains: the same losses, frozen rows, and checkpoints that either goes on from."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import LoraSettings, Phase
from korean_llm.training.checkpoints import last_checkpoint
from korean_llm.training.pretrain import check_batch
from tests.training.conftest import extended_folder
from tests.training.killing import child, logged_steps, wait_until
from tests.training.test_pretrain import settings

STEPS = 50
CHANGES = {
    "phases": [Phase(train=["new_input_rows", "new_output_rows", "lora"], tokens=64 * STEPS, learning_rate=3e-3)],
    "checkpoint_every_steps": 10,
    "evaluate_every_steps": 10,
    "sample_prompts": [],
    "lora": LoraSettings(rank=4, alpha=8),
}


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def test_two_processes_train_what_one_trains_and_one_goes_on(corpus_folder: Path, tmp_path: Path) -> None:
    base, one, two = extended_folder(tmp_path / "base", tied=False), tmp_path / "one", tmp_path / "two"
    assert child(base, corpus_folder, one, **CHANGES).ended() == 0
    process = child(base, corpus_folder, two, gpus=2, **CHANGES)
    wait_until(process, lambda: logged_steps(two) >= 12)
    os.kill(process.pid, signal.SIGTERM)
    assert process.ended() == 128 + signal.SIGTERM
    steps = logged_steps(two)
    assert last_checkpoint(two / "checkpoints" / "phase-1").name == f"checkpoint-{steps}"
    assert losses(two) == pytest.approx(losses(one)[:steps], abs=1e-4)
    assert child(base, corpus_folder, two, **CHANGES).ended() == 0
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    before, alone, shared = (load_file(f / "model" / "model.safetensors") for f in (base, one, two))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(before[name][:-20], shared[name][:-20]), name
        assert torch.allclose(alone[name][-20:], shared[name][-20:], atol=1e-4), name


def test_a_step_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(KoreanLLMError, match="batch_blocks is 2, which 3 GPUs cannot share evenly"):
        check_batch(settings(), Machine("cpu", gpus=3))
