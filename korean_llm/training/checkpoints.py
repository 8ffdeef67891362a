"""Checkpoints that are whole or not there at all, and that a run of any number of processes can go on from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from korean_llm.artifact import sync
from korean_llm.modeling.trainable import load_parameters, put, save_parameters, whole
from korean_llm.training.chunked import ChunkedLoss

PARAMETERS = "parameters.safetensors"
_ASIDE = "writing"
_OPTIMIZER = "optimizer.pt"
_SCHEDULER = "scheduler.pt"
_KEPT = 2
_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a folder, if any."""
    return max(_checkpoints(folder), key=checkpoint_step, default=None)


def checkpoint_step(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-"))


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if _NAME.fullmatch(path.name)]


class WholeCheckpoints(Trainer):
    """Trainer that writes a checkpoint aside, flushes it to disk, and gives it its name by one rename.

    A kill or a full disk while it writes leaves the checkpoints of before; the two newest are kept.
    To be named before another Trainer in a class's bases.
    """

    def _get_output_dir(self, trial: Any) -> str:
        return str(Path(super()._get_output_dir(trial)) / _ASIDE)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        aside = Path(self._get_output_dir(trial))
        if self.args.should_save:
            shutil.rmtree(aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            publish(aside / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}", aside.parent)
        self.accelerator.wait_for_everyone()


def publish(written: Path, folder: Path) -> None:
    """Move a written checkpoint into its folder, and drop all but the two newest."""
    for path in [*written.rglob("*"), written]:
        sync(path)
    shutil.rmtree(folder / written.name, ignore_errors=True)
    written.rename(folder / written.name)
    sync(folder)
    for old in sorted(_checkpoints(folder), key=checkpoint_step)[:-_KEPT]:
        shutil.rmtree(old)


class PhaseTrainer(ChunkedLoss, WholeCheckpoints):
    """Trainer whose checkpoints hold exactly the parameters that a run trains, and the optimizer's state, by name.

    PEFT's own saving would leave out trained base weights, and a whole model per checkpoint would be wasteful.
    States are kept under the names of parameters and are never sharded, so that a run of one process goes on where
    one of several stopped.
    """

    def __init__(self, *, names: set[str], sharded: bool = False, **options: Any) -> None:
        """names: parameters that a checkpoint holds; sharded: the model was sharded by modeling.sharded."""
        super().__init__(**options)
        self.names = names
        # So the Trainer leaves the model as it is, instead of copying all of it to every process. It is told so after
        # its own beginning, where it would refuse to checkpoint a model of which it cannot save the optimizer.
        self.is_distributed_loading_by_transformers = sharded

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        model: Any = self.model
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the parameters; every process has to call it, the first one writes."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_parameters(self._module(), self.names, folder / PARAMETERS, write=self.args.should_save)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_parameters(model or self._module(), Path(resume_from_checkpoint) / PARAMETERS)

    def _module(self) -> nn.Module:
        if self.model is None:
            raise ValueError("the trainer has no model")
        return self.model

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        states = {
            name: {key: whole(value) if torch.is_tensor(value) else value for key, value in state.items()}
            for name, state in self._states().items()
        }
        if self.args.should_save:
            torch.save(states, Path(output_dir) / _OPTIMIZER)
            torch.save(self._scheduler().state_dict(), Path(output_dir) / _SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        optimizer: Any = self.optimizer
        parameters = dict(self._module().named_parameters())
        for name, saved in torch.load(Path(checkpoint) / _OPTIMIZER, weights_only=True).items():
            parameter = parameters[name]
            optimizer.state[parameter] = {key: _placed(value, parameter) for key, value in saved.items()}
        scheduler = self._scheduler()
        scheduler.load_state_dict(torch.load(Path(checkpoint) / _SCHEDULER, weights_only=True))
        for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _states(self) -> dict[str, dict[str, Any]]:
        optimizer: Any = self.optimizer
        return {name: optimizer.state[p] for name, p in self._module().named_parameters() if p in optimizer.state}

    def _scheduler(self) -> Any:
        return self.lr_scheduler


def _placed(value: Any, parameter: torch.Tensor) -> Any:
    """A saved state where the optimizer wants it: like the parameter if it has its shape, else on its device."""
    if not torch.is_tensor(value):
        return value
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    placed = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
    put(placed, value)
    return placed
