"""Train a phase in several processes of this machine, one on each GPU, as FSDP2 wants it."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from korean_llm.errors import KoreanLLMError, StoppedError
from korean_llm.modeling.trainable import Model
from korean_llm.training.phases import Plan

_PLAN = "plan.pickle"
ERROR = "error.txt"


def launch(plan: Plan, model: Model) -> Callable[[int], None]:
    """A function that trains phase `number` in plan.machine.gpus processes; the model makes room for them meanwhile.

    The function raises KoreanLLMError with the words of the process that failed first.
    """

    def train(number: int) -> None:
        model.to("cpu")  # type: ignore[arg-type]
        (plan.checkpoints / _PLAN).write_bytes(pickle.dumps(plan))
        (plan.checkpoints / ERROR).unlink(missing_ok=True)
        _wait(_start(plan, number), plan.checkpoints / ERROR)

    return train


def _start(plan: Plan, number: int) -> list[subprocess.Popen[bytes]]:
    """One process for each rank, which meet at a free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "korean_llm.training.worker", str(plan.checkpoints / _PLAN), str(number)]
    world = {"WORLD_SIZE": str(plan.machine.gpus), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(command, env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(plan.machine.gpus)
    ]


def _wait(processes: list[subprocess.Popen[bytes]], error: Path) -> None:
    """Wait for all; pass SIGTERM on to them; where one fails, end the others, which would wait for it for ever."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before: Any = signal.signal(signal.SIGTERM, pass_on)
    try:
        while any(process.poll() is None for process in processes):
            if any(process.poll() for process in processes):
                time.sleep(5)  # let the others fail in their own words
                break
            time.sleep(0.1)
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    stopped, codes = 128 + signal.SIGTERM, [process.returncode for process in processes]
    if stopped in codes:
        raise StoppedError(error.read_text(encoding="utf-8"), stopped)
    if failed := next(filter(None, codes), 0):
        said = error.read_text(encoding="utf-8") if error.exists() else f"a training process ended with {failed}."
        raise KoreanLLMError(said)
