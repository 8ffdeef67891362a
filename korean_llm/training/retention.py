"""The retention contract: what a model may forget while it learns, and mixing back with what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from korean_llm import console
from korean_llm.modeling.trainable import tables
from korean_llm.recipe import MergeBack, PretrainingSettings, Retention
from korean_llm.training.loop import Live

_LEAST_ANGLE = 1e-4


def rises(limits: Mapping[str, float], before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, float]:
    """Language → relative rise of its bits per byte, of those languages that have risen by more than their limit."""
    found = {}
    for language, limit in limits.items():
        name = f"{language}_bits_per_byte"
        rise = now[name] / before[name] - 1
        if rise > limit:
            found[language] = round(rise, 4)
    return found


class Retains(TrainerCallback):
    """Applies `slow_if` and `stop_if` to what Live has just measured; to be named after it.

    As long as the limits of stop_if hold, `keep` is called at every measurement; once they do not, training ends and
    `stopped` says why.
    """

    def __init__(
        self, settings: PretrainingSettings, before: Mapping[str, Any], live: Live, keep: Callable[[], None]
    ) -> None:
        self.slow, self.stop = settings.slow_if, settings.stop_if
        self.before, self.live, self.keep = before, live, keep
        self.stopped: dict[str, Any] | None = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        lr_scheduler: Any = None,
        **_: Any,
    ) -> None:
        """Look at a fresh measurement."""
        if self.live.measured_at != state.global_step:
            return
        if self.slow and (found := self._rises(self.slow)):
            slow_down(optimizer, lr_scheduler, self.slow.times)
            self._tell(state, f"{found}: the learning rate is multiplied by {self.slow.times:g}")
        if self.stop is None:
            return
        if found := self._rises(self.stop):
            self.stopped = {"step": state.global_step, "rises": found}
            control.should_training_stop = True
            self._tell(state, f"{found}, more than the recipe allows: training ends here")
        else:
            self.keep()

    def _rises(self, contract: Retention) -> dict[str, float]:
        return rises(contract.limits, self.before, self.live.measured)

    def _tell(self, state: TrainerState, text: str) -> None:
        if state.is_world_process_zero:
            console.note(f"{self.live.label}, step {state.global_step}: bits per byte have risen by {text}")


def slow_down(optimizer: Any, scheduler: Any, times: float) -> None:
    """Multiply the rate of all steps to come; it is part of the scheduler's state, so a resumed run keeps to it."""
    scheduler.base_lrs = [rate * times for rate in scheduler.base_lrs]
    scheduler._last_lr = [rate * times for rate in scheduler._last_lr]
    for group in optimizer.param_groups:
        group["lr"] *= times


@torch.no_grad()
def merge_back(model: PreTrainedModel, source: Path, new_ids: list[int], settings: MergeBack) -> None:
    """Mix the model in place with the checkpoint folder that training began with, tensor by tensor.

    A tensor that did not change stays bit-equal, and rows of new tokens stay as trained: the base never knew them.
    """
    named = dict(model.named_parameters())
    ends = {f"{end}.weight" for end in (tables(model).embedding, tables(model).head)}
    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                if name not in named:
                    continue
                rows = min(new_ids) if new_ids and name.endswith(tuple(ends)) else None
                now, was = named[name][:rows], file.get_tensor(name)[:rows].to(named[name])
                if not torch.equal(now, was):
                    now.copy_(mixed(now, was, settings))


def mixed(trained: torch.Tensor, base: torch.Tensor, settings: MergeBack) -> torch.Tensor:
    """The tensor at base_share of the way from trained to base: along the chord, or the arc between them."""
    share, one, other = settings.base_share, trained.float(), base.float()
    if settings.method == "slerp":
        cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).clamp(-1, 1)
        angle = torch.arccos(cosine.double()).item()
        if angle > _LEAST_ANGLE:
            sines = [torch.sin(torch.tensor(part * angle, dtype=torch.float64)) for part in (1 - share, share, 1.0)]
            return ((sines[0] / sines[2]) * one + (sines[1] / sines[2]) * other).to(trained.dtype)
    return ((1 - share) * one + share * other).to(trained.dtype)
