"""The phases of pretraining: each trains what the recipe names, and leaves its parameters and an account on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PrinterCallback, TrainingArguments

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.machine import Machine
from korean_llm.modeling.sharded import shard
from korean_llm.modeling.trainable import (
    Model,
    Table,
    load_parameters,
    prepare,
    save_parameters,
    select,
    tables,
    trainable_names,
)
from korean_llm.recipe import Phase, PretrainingSettings
from korean_llm.training.blocks import Blocks
from korean_llm.training.checkpoints import PARAMETERS, PhaseTrainer, checkpoint_step, last_checkpoint
from korean_llm.training.faults import StopsAtSignal, WatchesLoss
from korean_llm.training.loop import Live, micro_batch, stack
from korean_llm.training.movement import as_rows, movement, parts, tell_end, tell_start, trained_tensors
from korean_llm.training.probe import Probe
from korean_llm.training.retention import Retains
from korean_llm.training.tokens import Tokens

_KEPT = "kept.safetensors"


@dataclass(frozen=True)
class Plan:
    """All that one process needs to know of a pretraining run.

    Attributes:
        source: checkpoint folder that training begins with; corpus: corpus artifact.
        out: the stage's folder; checkpoints are in out/checkpoints.
        new_ids: ids of new tokens, which follow each other.
        before: figures of the model that training begins with.
    """

    settings: PretrainingSettings
    source: Path
    corpus: Path
    out: Path
    new_ids: list[int]
    machine: Machine
    seed: int
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> Path:
        """Where phases leave what they trained."""
        return self.out / "checkpoints"

    @property
    def steps(self) -> list[int]:
        """Optimizer steps of each phase."""
        return [phase_steps(phase, self.settings) for phase in self.settings.phases]

    @property
    def num_tokens(self) -> int:
        """Tokens of all phases."""
        return sum(self.steps) * self.settings.block_tokens * self.settings.batch_blocks

    def done(self, number: int) -> Path:
        """What is trained when phase `number`, from 1, is done."""
        return self.checkpoints / f"phase-{number}.{PARAMETERS}"

    def account(self, number: int) -> Path:
        """What a phase has to say: what moved, and whether training ends with it."""
        return self.checkpoints / f"phase-{number}.json"


def phase_steps(phase: Phase, settings: PretrainingSettings) -> int:
    """Optimizer steps of a phase: its tokens over the tokens of a step, at least one."""
    return max(1, round(phase.tokens / (settings.block_tokens * settings.batch_blocks)))


class Phases:
    """A model, and the phases that train it in this process."""

    def __init__(self, plan: Plan, model: PreTrainedModel, probe: Probe) -> None:
        """model: as loaded from plan.source; it is prepared in place for all phases."""
        self.plan, self.probe = plan, probe
        settings = plan.settings
        model.set_attn_implementation(plan.machine.attention_implementation())
        self.table: Table = tables(model)
        self.model: Model = prepare(model, settings.groups, plan.new_ids, settings.lora)
        self.names = trainable_names(self.model, [phase.train for phase in settings.phases], self.table)

    def load(self, number: int) -> dict[str, Any]:
        """Put back what phase `number` has trained; its account."""
        load_parameters(self.model, self.plan.done(number))
        account: dict[str, Any] = json.loads(self.plan.account(number).read_text(encoding="utf-8"))
        return account

    def train(self, number: int) -> None:
        """Train phase `number`, from 1, from its newest checkpoint if there is one.

        Raises KoreanLLMError where the loss goes wrong, where what the phase names is not there, or does not move.
        """
        plan, phase = self.plan, self.plan.settings.phases[number - 1]
        label = f"phase {number}: {' + '.join(phase.train)}"
        select(self.model, phase.train, self.table)
        start = trained_tensors(self.model)
        resume = last_checkpoint(self._folder(number))
        trainer, live, retains = self._trainer(number, label, checkpoint_step(resume) if resume else 0)
        first = trainer.is_world_process_zero()
        if first:
            tell_start(label, parts(start, self.table))
        try:
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        finally:
            live.bar.stop()
        if retains.stopped:
            load_parameters(self.model, self._kept(number))
        moved = movement(self.model, start, [] if retains.stopped else phase.train, self.table, label)
        save_parameters(self.model, self.names, plan.done(number), write=first)
        if first:
            tell_end(label, moved)
            account = {"phase": label, "parts": as_rows(moved), "stopped": retains.stopped}
            write_json(plan.account(number), account)

    def _kept(self, number: int) -> Path:
        return self._folder(number) / _KEPT

    def _folder(self, number: int) -> Path:
        """Where a phase's own checkpoints are."""
        return self.plan.checkpoints / f"phase-{number}"

    def _trainer(self, number: int, label: str, done: int) -> tuple[PhaseTrainer, Live, Retains]:
        """done: steps that a run of before has taken."""
        plan, settings = self.plan, self.plan.settings
        per_step = settings.batch_blocks
        first_block = sum(plan.steps[: number - 1]) * per_step
        arguments = self._arguments(number)
        if plan.machine.gpus > 1:
            shard(self.model, arguments.device)
        blocks = self._blocks(first_block, plan.steps[number - 1], done)
        live = Live(
            plan.out,
            label,
            settings.block_tokens * per_step,
            settings.evaluate_every_steps,
            lambda: self.probe.measure(self.model),
        )
        kept = self._kept(number)
        retains = Retains(settings, plan.before, live, lambda: self._keep(trainer, kept))
        watches = WatchesLoss(plan.out, settings.stop_if_loss_exceeds, lambda step: self._documents(first_block, step))
        trainer = PhaseTrainer(
            names=self.names,
            sharded=plan.machine.gpus > 1,
            model=self.model,
            args=arguments,
            train_dataset=blocks,
            data_collator=stack,
            callbacks=[live, retains, watches, StopsAtSignal()],
        )
        trainer.remove_callback(PrinterCallback)
        if settings.stop_if and not kept.exists():
            self._keep(trainer, kept)
        return trainer, live, retains

    def _keep(self, trainer: PhaseTrainer, path: Path) -> None:
        """Keep the parameters as they are: those to go back to when the retention contract is broken."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_parameters(self.model, self.names, path, write=trainer.args.should_save)

    def _blocks(self, first: int, steps: int, done: int) -> Blocks:
        """The blocks of a phase from the step after `done`."""
        settings, tokens = self.plan.settings, Tokens(self.plan.checkpoints / "tokens")
        per_step = settings.batch_blocks
        return Blocks(
            tokens, self.plan.checkpoints, settings.block_tokens, first + done * per_step, (steps - done) * per_step
        )

    def _documents(self, first_block: int, step: int) -> list[str]:
        per_step = self.plan.settings.batch_blocks
        return self._blocks(first_block, step, step - 1).document_names(range(per_step))

    def _arguments(self, number: int) -> TrainingArguments:
        settings, machine = self.plan.settings, self.plan.machine
        phase, steps = settings.phases[number - 1], self.plan.steps[number - 1]
        cuda = machine.torch_device().type == "cuda"
        own = settings.batch_blocks // machine.gpus
        micro = micro_batch(own, settings.block_tokens, machine)
        warmup = settings.warmup_ratio if phase.warmup_ratio is None else phase.warmup_ratio
        return TrainingArguments(
            output_dir=str(self._folder(number)),
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=own // micro,
            learning_rate=phase.learning_rate,
            lr_scheduler_type=phase.schedule or settings.schedule,
            warmup_steps=round(warmup * steps),
            weight_decay=settings.weight_decay,
            optim="adamw_torch_fused" if settings.optimizer == "adamw_torch_fused" else "adamw_bnb_8bit",
            bf16=cuda,
            use_cpu=not cuda,
            activation_checkpointing=cuda,
            train_sampling_strategy="sequential",
            ignore_data_skip=True,  # a resumed run is given blocks from its own step on
            save_strategy="steps",
            save_steps=settings.checkpoint_every_steps,
            logging_steps=1,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to=[machine.report_to] if machine.report_to else [],
            seed=self.plan.seed,
            data_seed=self.plan.seed,
            dataloader_num_workers=0,
            remove_unused_columns=False,
        )


def run_phases(plan: Plan, phases: Phases, launch: Any = None) -> list[dict[str, Any]]:
    """Train every phase that a run of before has not finished; their accounts, up to the one that ended training.

    launch: trains one phase in processes of its own; by default it is trained in this one.
    """
    accounts = []
    for number in range(1, len(plan.settings.phases) + 1):
        if not plan.account(number).exists():
            console.note(f"pretraining: {plan.steps[number - 1]:,} steps of phase {number}")
            (launch or phases.train)(number)
        accounts.append(phases.load(number))
        if accounts[-1]["stopped"]:
            break
    return accounts
