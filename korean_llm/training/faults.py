"""Training that ends early: at a signal, with a checkpoint; at a loss that went wrong, with the text it read."""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from korean_llm.artifact import write_json
from korean_llm.errors import KoreanLLMError, StoppedError

FAULT_FILE = "fault.json"
_WINDOW = 50
_LEAST = 10


class StopsAtSignal(TrainerCallback):
    """At SIGTERM, finish the step, write a checkpoint and end; the signal's old way returns with the training."""

    def __init__(self) -> None:
        self.asked = False
        self.before: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen."""
        self.before = signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save and stop where asked to."""
        self.asked = any_process(self.asked, args.device)
        if self.asked and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop listening. Raises StoppedError where training is not done."""
        signal.signal(signal.SIGTERM, self.before)
        if self.asked and state.global_step < state.max_steps:
            raise StoppedError(
                f"stopped by SIGTERM after step {state.global_step} of {state.max_steps}, with a checkpoint;"
                " the same command goes on from there.",
                128 + signal.SIGTERM,
            )


def any_process(asked: bool, device: torch.device) -> bool:
    """Whether any of the processes that train together was asked: they have to stop after the same step."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return asked
    flag = torch.tensor([float(asked)], device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag.item())


class WatchesLoss(TrainerCallback):
    """Stop where the loss is no number, or leaps over a multiple of its median; say which documents were read.

    It stops before a checkpoint of that step is written, so the one of before is still good.
    """

    def __init__(self, out: Path, times: float, documents: Callable[[int], list[str]]) -> None:
        """times: of the median of the last 50 losses; documents: step → ids of the documents read in it."""
        self.out, self.times, self.documents = out, times, documents
        self.losses: deque[float] = deque(maxlen=_WINDOW)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Look at a step's loss. Raises KoreanLLMError where it went wrong."""
        if not logs or "loss" not in logs:
            return
        loss, usual = logs["loss"], median(self.losses) if self.losses else math.inf
        norm = logs.get("grad_norm", 0.0)
        leaps = len(self.losses) >= _LEAST and loss > self.times * usual
        if math.isfinite(loss) and math.isfinite(norm) and not leaps:
            self.losses.append(loss)
            return
        fault = {"step": state.global_step, "loss": str(loss), "grad_norm": str(norm), "median": str(usual)}
        if state.is_world_process_zero:
            write_json(self.out / FAULT_FILE, {**fault, "documents": self.documents(state.global_step)})
        what = f"leapt from about {usual:.3f} to {loss:.3f}" if leaps else f"is {loss} with a gradient of norm {norm}"
        raise KoreanLLMError(
            f"the loss {what} at step {state.global_step}; the documents of that step are named in"
            f" {self.out / FAULT_FILE}; take them out of the corpus or lower the learning rate, then run again."
        )
