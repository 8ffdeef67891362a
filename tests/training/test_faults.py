"""What goes wrong in a week of training: signals, full disks, losses that explode."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import Phase
from korean_llm.training.checkpoints import last_checkpoint
from korean_llm.training.faults import FAULT_FILE, WatchesLoss
from korean_llm.training.pretrain import run
from tests.training.conftest import extended_folder
from tests.training.killing import child, logged_steps, wait_until
from tests.training.test_pretrain import settings, tensors


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return extended_folder(tmp_path / "vocabulary", tied=True)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_sigterm_saves_and_ends_in_good_order(base: Path, corpus_folder: Path, tmp_path: Path, whole_run) -> None:
    out = tmp_path / "out"
    process = child(base, corpus_folder, out)
    wait_until(process, lambda: logged_steps(out) >= 1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.ended() == 128 + signal.SIGTERM
    said = (tmp_path / "out.log").read_text(encoding="utf-8")
    assert "stopped by SIGTERM after step" in said and "Traceback" not in said
    steps = logged_steps(out)
    assert last_checkpoint(out / "checkpoints" / "phase-1").name == f"checkpoint-{steps}"
    assert child(base, corpus_folder, out).ended() == 0
    assert same(whole_run, tensors(out))


def test_a_full_disk_leaves_the_last_checkpoint(base: Path, corpus_folder: Path, tmp_path: Path, whole_run) -> None:
    """No file may grow any more once the first checkpoint stands; then there is room again."""
    out = tmp_path / "out"
    process = child(base, corpus_folder, out)
    checkpoint = out / "checkpoints" / "phase-1" / "checkpoint-3"
    wait_until(process, checkpoint.exists)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (16, 16))
    assert process.ended() == 1
    assert last_checkpoint(out / "checkpoints" / "phase-1") is not None
    assert child(base, corpus_folder, out).ended() == 0
    assert same(whole_run, tensors(out))


def test_a_loss_that_is_no_number_names_its_documents(base: Path, corpus_folder: Path, tmp_path: Path, machine) -> None:
    out = tmp_path / "out"
    out.mkdir()
    hot = settings(phases=[Phase(train=["all"], tokens=6_400, learning_rate=1e30)], checkpoint_every_steps=1)
    with pytest.raises(KoreanLLMError, match=r"the loss .* at step \d+; the documents of that step are named in"):
        run(hot, {"model": base, "corpus": corpus_folder}, out, machine, 17)
    fault = json.loads((out / FAULT_FILE).read_text(encoding="utf-8"))
    assert fault["documents"] and all("-" in name for name in fault["documents"])
    saved = last_checkpoint(out / "checkpoints" / "phase-1")
    assert saved is None or int(saved.name.split("-")[1]) < fault["step"]


class State:
    global_step = 12
    is_world_process_zero = True


def test_a_leap_of_the_loss_stops(tmp_path: Path) -> None:
    watches = WatchesLoss(tmp_path, 3.0, lambda step: [f"document {step}"])
    for loss in (9.0, 2.0, 2.1, 1.9, 2.0, 2.2, 2.0, 1.8, 2.0, 2.1, 5.9):
        watches.on_log(None, State, None, {"loss": loss, "grad_norm": 1.0})
    with pytest.raises(KoreanLLMError, match=r"the loss leapt from about 2\.000 to 6\.500 at step 12"):
        watches.on_log(None, State, None, {"loss": 6.5, "grad_norm": 1.0})
    assert json.loads((tmp_path / FAULT_FILE).read_text(encoding="utf-8"))["documents"] == ["document 12"]
