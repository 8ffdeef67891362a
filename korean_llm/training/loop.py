"""What transformers.Trainer lacks here: checkpoints that are known to be whole, and one line of progress."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from korean_llm import console
from korean_llm.artifact import METRICS_FILE
from korean_llm.machine import Machine
from korean_llm.modeling.memory import GIB, micro_tokens
from korean_llm.modeling.trainable import load_parameters, save_parameters

COMPLETE = "complete.json"
PARAMETERS = "parameters.safetensors"


class WholeCheckpoints(TrainerCallback):
    """Mark a checkpoint as complete once everything in it is written: Trainer itself writes file by file."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the mark beside the checkpoint's last file."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        (folder / COMPLETE).write_text(json.dumps({"step": state.global_step}), encoding="utf-8")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a folder; a torn one, left by a kill, is not considered."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def micro_batch(batch: int, tokens: int, machine: Machine) -> int:
    """Rows per forward pass: the largest divisor of the batch that this machine is given at once."""
    device = machine.torch_device()
    limit = 1_024
    if device.type == "cuda":
        limit = micro_tokens(torch.cuda.get_device_properties(device).total_memory / GIB)
    return max(size for size in range(1, batch + 1) if batch % size == 0 and (size * tokens <= limit or size == 1))


class Live(TrainerCallback):
    """A progress bar on stderr, one line of metrics.jsonl per step, and a callback every so many steps."""

    def __init__(
        self,
        out: Path,
        label: str,
        tokens_per_step: int,
        every: int = 0,
        measure: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.out, self.label, self.tokens_per_step = out, label, tokens_per_step
        self.every, self.measure = every, measure
        self.bar = console.training_bar()
        self.task: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the bar; forget metrics of steps that a resumed run takes again."""
        trim_metrics(self.out, self.label, state.global_step)
        self.bar.start()
        self.task = self.bar.add_task(self.label, total=state.max_steps, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Log the loss of the step."""
        if logs and "loss" in logs:
            values = {key: logs[key] for key in ("loss", "grad_norm", "learning_rate") if key in logs}
            tokens = state.global_step * self.tokens_per_step
            console.log_metrics(self.out, phase=self.label, step=state.global_step, tokens=tokens, **values)
            self.bar.update(self.task, description=f"{self.label} · loss {logs['loss']:.3f}")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance; measure where it is time."""
        self.bar.update(self.task, completed=state.global_step)
        if self.measure and self.every and state.global_step % self.every == 0 and state.global_step < state.max_steps:
            measured = self.measure()
            console.log_metrics(self.out, phase=self.label, step=state.global_step, **measured)
            figures = ", ".join(f"{name} {value}" for name, value in measured.items() if name != "samples")
            console.note(f"{self.label}, step {state.global_step} of {state.max_steps}: {figures}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Close the bar."""
        self.bar.stop()


def trim_metrics(out: Path, label: str, step: int) -> None:
    """Drop this phase's lines past `step` from metrics.jsonl: they are about to be written again."""
    rows = [row for row in console.read_metrics(out) if row.get("phase") != label or row.get("step", 0) <= step]
    path = out / METRICS_FILE
    if path.exists():
        aside = path.with_name(path.name + ".new")
        aside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        aside.replace(path)


class PhaseTrainer(Trainer):
    """Trainer whose checkpoints hold exactly the parameters that this run trains, whichever kind they are.

    PEFT's own saving would leave out trained base weights, and a whole model per checkpoint would be wasteful.
    """

    def __init__(self, *, names: set[str], **options: Any) -> None:
        """names: parameters that a checkpoint holds."""
        super().__init__(**options)
        self.names = names

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_parameters(self._module(), self.names, folder / PARAMETERS)

    def _module(self) -> nn.Module:
        if self.model is None:
            raise ValueError("the trainer has no model")
        return self.model

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_parameters(model or self._module(), Path(resume_from_checkpoint) / PARAMETERS)


def stack(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Collate blocks of equal length: every tensor (T,) → (B, T)."""
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}
