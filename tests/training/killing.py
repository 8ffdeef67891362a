"""Pretraining in a process of its own, which tests kill, stop and starve."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

# Processes come from one that has imported everything already: a test that kills four need not wait for four imports.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.training.test_pretrain"])


def _train(model: Path, corpus: Path, out: Path, gpus: int, slow: float, changes: dict[str, Any]) -> None:
    import torch

    from korean_llm.training import checkpoints
    from korean_llm.training.pretrain import run
    from tests.training.test_pretrain import settings

    log = os.open(out.parent / f"{out.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    if slow:
        flush = checkpoints.sync
        checkpoints.sync = lambda path: (time.sleep(slow), flush(path))
    out.mkdir(exist_ok=True)
    try:
        run(settings(**changes), {"model": model, "corpus": corpus}, out, Machine("cpu", 1, gpus=gpus), 17)
    except KoreanLLMError as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "status", 2))


class Child:
    """A running pretraining."""

    def __init__(self, *arguments: object) -> None:
        self.process = _PROCESSES.Process(target=_train, args=arguments)
        self.process.start()
        self.pid = int(self.process.pid or 0)

    def ended(self) -> int | None:
        """Wait; the exit status, minus the signal's number where one killed it."""
        self.process.join(120)
        return self.process.exitcode


def child(model: Path, corpus: Path, out: Path, *, gpus: int = 1, slow: float = 0.0, **changes: Any) -> Child:
    """Pretrain with the changed settings of test_pretrain. slow: seconds it takes to flush a file of a checkpoint."""
    return Child(model, corpus, out, gpus, slow, changes)


def logged_steps(out: Path) -> int:
    """Steps that a run has logged so far."""
    path = out / "metrics.jsonl"
    return path.read_text(encoding="utf-8").count('"loss"') if path.exists() else 0


def wait_until(running: Child, condition: Callable[[], bool]) -> None:
    """Wait for a condition that has to come true while the process runs."""
    while running.process.is_alive() and not condition():
        time.sleep(0.002)
    assert running.process.is_alive(), "the run ended before its time"
