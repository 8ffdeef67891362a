"""What the user sees of training, and how much of it fits into one forward pass."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from korean_llm import console
from korean_llm.artifact import METRICS_FILE
from korean_llm.machine import Machine
from korean_llm.modeling.memory import GIB, batch_at_once, micro_tokens

Measure = Callable[[], dict[str, Any]]


def micro_batch(batch: int, tokens: int, machine: Machine) -> int:
    """Rows per forward pass of one process: the largest divisor of its batch that the machine is given at once."""
    device = machine.torch_device()
    limit = 1_024
    if device.type == "cuda":
        limit = micro_tokens(torch.cuda.get_device_properties(device).total_memory / GIB)
    return batch_at_once(batch, tokens, limit)


class Live(TrainerCallback):
    """A progress bar on stderr, one line of metrics.jsonl per step, and a measurement every so many steps.

    Only the first process shows and writes; all of them measure, since a sharded model takes all of them.
    """

    def __init__(
        self, out: Path, label: str, tokens_per_step: int, every: int = 0, measure: Measure | None = None
    ) -> None:
        self.out, self.label, self.tokens_per_step = out, label, tokens_per_step
        self.every, self.measure = every, measure
        self.bar = console.training_bar()
        self.task: Any = None
        self.measured: dict[str, Any] = {}
        self.measured_at = -1
        self.last_s = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the bar; forget metrics of steps that a resumed run takes again."""
        self.last_s = time.monotonic()
        if state.is_world_process_zero:
            trim_metrics(self.out, self.label, state.global_step)
            self.bar.start()
            self.task = self.bar.add_task(self.label, total=state.max_steps, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Log the loss of the step, tokens per second and memory."""
        if not (logs and "loss" in logs and state.is_world_process_zero):
            return
        values = {key: logs[key] for key in ("loss", "grad_norm", "learning_rate") if key in logs}
        now = time.monotonic()
        if self.tokens_per_step:
            values["tokens"] = state.global_step * self.tokens_per_step
            values["tokens_per_s"] = round(self.tokens_per_step / max(now - self.last_s, 1e-9), 1)
        self.last_s = now
        values["memory_gib"] = round(memory_gib(), 2)
        console.log_metrics(self.out, phase=self.label, step=state.global_step, **values)
        self.bar.update(self.task, description=f"{self.label} · {self._line(logs['loss'], values)}")

    def _line(self, loss: float, values: dict[str, Any]) -> str:
        parts = [f"loss {loss:.3f}"]
        parts += [
            f"{name.removesuffix('_bits_per_byte')} {value:.3f} bits/byte"
            for name, value in self.measured.items()
            if name.endswith("bits_per_byte")
        ]
        if "tokens_per_s" in values:
            parts.append(f"{values['tokens_per_s']:,.0f} tokens/s")
        return " · ".join([*parts, f"{values['memory_gib']:.1f} GiB"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance; measure where it is time."""
        if state.is_world_process_zero:
            self.bar.update(self.task, completed=state.global_step)
        if self.measure and self.every and state.global_step % self.every == 0 and state.global_step < state.max_steps:
            self.measured, self.measured_at = self.measure(), state.global_step
            if state.is_world_process_zero:
                console.log_metrics(self.out, phase=self.label, step=state.global_step, **self.measured)
                figures = ", ".join(f"{name} {value}" for name, value in self.measured.items() if name != "samples")
                console.note(f"{self.label}, step {state.global_step} of {state.max_steps}: {figures}")
            self.last_s = time.monotonic()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Close the bar."""
        self.bar.stop()


def memory_gib() -> float:
    """Memory in use: the GPU's at its peak so far, or this process's on a CPU, in GiB."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def trim_metrics(out: Path, label: str, step: int) -> None:
    """Drop this phase's lines past `step` from metrics.jsonl: they are about to be written again."""
    rows = [row for row in console.read_metrics(out) if row.get("phase") != label or row.get("step", 0) <= step]
    path = out / METRICS_FILE
    if path.exists():
        aside = path.with_name(path.name + ".new")
        aside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        aside.replace(path)


def stack(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Collate blocks of equal length: every tensor (T,) → (B, T)."""
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}
