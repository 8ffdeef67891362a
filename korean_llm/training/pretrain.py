"""Stage `pretraining`: continued pretraining on packed blocks, phase by phase, resumable after every kill."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainingArguments, set_seed

from korean_llm import console
from korean_llm.corpus.documents import TRAIN, holdout_texts, read_documents, read_shares
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.modeling.trainable import (
    Model,
    Table,
    input_rows,
    load_parameters,
    merge,
    prepare,
    save_parameters,
    select,
    tables,
    trainable_names,
)
from korean_llm.recipe import Phase, PretrainingSettings
from korean_llm.training.blocks import Blocks, build_blocks
from korean_llm.training.loop import (
    PARAMETERS,
    Live,
    PhaseTrainer,
    WholeCheckpoints,
    last_checkpoint,
    micro_batch,
    stack,
)

_SAMPLE_TOKENS = 24
_PROBE_BYTES = 4_000


def run(
    settings: PretrainingSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Train the model of inputs["model"] on inputs["corpus"]; write out/model, an ordinary merged checkpoint."""
    set_seed(seed)
    source = inputs["model"] / "model"
    tokenizer = load_tokenizer(source)
    model = load_model(source, machine, quantized=settings.quantized_base)
    old_rows, new_ids = input_rows(model), new_token_ids(inputs["model"])
    checkpoints = out / "checkpoints"
    steps = [phase_steps(phase, settings) for phase in settings.phases]
    taken = pack(settings, inputs["corpus"], tokenizer, sum(steps), checkpoints / "blocks", seed)
    probe = Probe(inputs["corpus"], tokenizer, settings.sample_prompts)
    before = probe.measure(model)
    console.log_metrics(out, phase="before", step=0, **before)

    table = tables(model)
    frozen = frozen_rows(old_rows, new_ids) if not _trains_old_rows(settings) else None
    prepared = prepare(model, settings.groups, new_ids, settings.lora)
    runner = Phases(settings, prepared, table, machine, seed, out, probe)
    started = time.monotonic()
    runner.run_all(steps)
    seconds = time.monotonic() - started

    merged = finish_model(settings, runner, source, machine, new_ids)
    if frozen is not None:
        check_frozen(frozen, merged, new_ids)
    after = probe.measure(merged)
    console.log_metrics(out, phase="after", step=sum(steps), **after)
    merged.config.use_cache = True  # the Trainer switches it off
    merged.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    shutil.rmtree(checkpoints)
    return {
        "counts": {"steps": sum(steps), "tokens": sum(taken.values()), "tokens_by_source": taken},
        "metrics": {"before": before, "after": after, "training_s": round(seconds, 1), "trained": runner.trained},
    }


def _trains_old_rows(settings: PretrainingSettings) -> bool:
    return bool(settings.groups & {"input_rows", "output_rows"})


def new_token_ids(folder: Path) -> list[int]:
    """Ids of the tokens that the vocabulary stage added; empty for a base that was not extended."""
    path = folder / "tokens.jsonl"
    if not path.exists():
        return []
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


def phase_steps(phase: Phase, settings: PretrainingSettings) -> int:
    """Optimizer steps of a phase: its tokens over the tokens of a step, at least one."""
    return max(1, round(phase.tokens / (settings.block_tokens * settings.batch_blocks)))


def pack(
    settings: PretrainingSettings,
    corpus: Path,
    tokenizer: PreTrainedTokenizerBase,
    num_steps: int,
    folder: Path,
    seed: int,
) -> dict[str, int]:
    """Write the blocks of the whole run; a resumed run writes the same blocks again."""
    documents, shares = list(read_documents(corpus / TRAIN)), read_shares(corpus)
    return build_blocks(
        documents, shares, tokenizer, settings.block_tokens, num_steps * settings.batch_blocks, folder, seed
    )


class Probe:
    """What is measured again and again during training: a little hold-out text per language, and samples."""

    def __init__(self, corpus: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> None:
        """corpus: corpus artifact; its hold-out is cut to a few kilobytes per language."""
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.texts = holdout_texts(corpus, _PROBE_BYTES)

    def measure(self, model: Model) -> dict[str, Any]:
        """{"<language>_bits_per_byte": …, "samples": [...]} for the model as it is now."""
        figures: dict[str, Any] = {
            f"{language}_bits_per_byte": round(bits_per_byte(model, self.tokenizer, texts).per_byte, 4)
            for language, texts in self.texts.items()
        }
        if self.prompts:
            figures["samples"] = [sample(model, self.tokenizer, prompt) for prompt in self.prompts]
        return figures


@torch.inference_mode()
def sample(model: Model, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """A greedy continuation of a prompt."""
    encoded = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(model.device)
    training = model.training
    model.eval()
    ids_1T = model.generate(  # type: ignore[operator]
        **encoded, max_new_tokens=_SAMPLE_TOKENS, do_sample=False, pad_token_id=tokenizer.eos_token_id
    )
    model.train(training)
    text = tokenizer.decode(ids_1T[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    return str(text).rstrip("\ufffd")  # the last syllable may not be whole yet


class Phases:
    """Runs the phases one after the other; each finished phase leaves its parameters on disk."""

    def __init__(
        self,
        settings: PretrainingSettings,
        model: Model,
        table: Table,
        machine: Machine,
        seed: int,
        out: Path,
        probe: Probe,
    ) -> None:
        self.settings, self.model, self.table = settings, model, table
        self.machine, self.seed, self.out, self.probe = machine, seed, out, probe
        self.checkpoints = out / "checkpoints"
        self.names = trainable_names(model, [phase.train for phase in settings.phases], table)
        self.trained: list[dict[str, int]] = []

    def run_all(self, steps: list[int]) -> None:
        """Train every phase; those that a killed run finished are read back instead."""
        first_block = 0
        for number, (phase, count) in enumerate(zip(self.settings.phases, steps, strict=True), start=1):
            done = self.checkpoints / f"phase-{number}.{PARAMETERS}"
            self.trained.append(select(self.model, phase.train, self.table))
            if done.exists():
                load_parameters(self.model, done)
            else:
                self._train(number, phase, count, first_block)
                aside = done.with_suffix(".new")
                save_parameters(self.model, self.names, aside)
                aside.replace(done)
            first_block += count * self.settings.batch_blocks

    def _train(self, number: int, phase: Phase, steps: int, first_block: int) -> None:
        label = f"phase {number}: {' + '.join(phase.train)}"
        counts = ", ".join(f"{group} {count:,}" for group, count in self.trained[-1].items())
        console.note(f"pretraining, {label}: {steps} steps, trains {counts} parameters")
        folder = self.checkpoints / f"phase-{number}"
        blocks = Blocks(self.checkpoints / "blocks", first_block, steps * self.settings.batch_blocks)
        tokens_per_step = self.settings.block_tokens * self.settings.batch_blocks
        live = Live(
            self.out,
            label,
            tokens_per_step,
            self.settings.evaluate_every_steps,
            lambda: self.probe.measure(self.model),
        )
        trainer = PhaseTrainer(
            names=self.names,
            model=self.model,
            args=self._arguments(folder, phase, steps),
            train_dataset=blocks,
            data_collator=stack,
            callbacks=[WholeCheckpoints(), live],
        )
        trainer.remove_callback(PrinterCallback)
        resume = last_checkpoint(folder)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    def _arguments(self, folder: Path, phase: Phase, steps: int) -> TrainingArguments:
        settings, cuda = self.settings, self.machine.torch_device().type == "cuda"
        micro = micro_batch(settings.batch_blocks, settings.block_tokens, self.machine)
        return TrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=settings.batch_blocks // micro,
            learning_rate=phase.learning_rate,
            lr_scheduler_type=settings.schedule,
            warmup_steps=round(settings.warmup_ratio * steps),
            weight_decay=settings.weight_decay,
            optim="adamw_torch_fused" if settings.optimizer == "adamw_torch_fused" else "adamw_bnb_8bit",
            bf16=cuda,
            use_cpu=not cuda,
            activation_checkpointing=cuda,
            train_sampling_strategy="sequential",
            save_strategy="steps",
            save_steps=settings.checkpoint_every_steps,
            save_total_limit=2,
            logging_steps=1,
            logging_first_step=True,
            disable_tqdm=True,
            report_to=[],
            seed=self.seed,
            data_seed=self.seed,
            dataloader_num_workers=0,
            remove_unused_columns=False,
        )


def frozen_rows(weight_VD: torch.Tensor, new_ids: list[int]) -> torch.Tensor:
    """A copy of the rows that no phase may change."""
    return weight_VD.detach().cpu()[: _first_new(weight_VD, new_ids)].clone()


def _first_new(weight_VD: torch.Tensor, new_ids: list[int]) -> int:
    return min(new_ids) if new_ids else len(weight_VD)


def check_frozen(frozen_VD: torch.Tensor, model: PreTrainedModel, new_ids: list[int]) -> None:
    """Promise 2: old rows have changed by exactly 0.0. Raises KoreanLLMError otherwise."""
    now_VD = input_rows(model).cpu()[: len(frozen_VD)]
    if not torch.equal(now_VD, frozen_VD):
        moved = (now_VD.float() - frozen_VD.float()).abs().max().item()
        raise KoreanLLMError(
            f"rows of old tokens moved by up to {moved:g} although frozen; this run is not to be used."
        )


def finish_model(
    settings: PretrainingSettings, runner: Phases, source: Path, machine: Machine, new_ids: list[int]
) -> PreTrainedModel:
    """The trained model as ordinary weights. A 4-bit base is replaced by the full one before merging."""
    model = runner.model
    if settings.quantized_base:
        last = runner.checkpoints / f"phase-{len(settings.phases)}.{PARAMETERS}"
        model = prepare(load_model(source, machine), settings.groups, new_ids, settings.lora)
        load_parameters(model, last)
    model.eval()
    return merge(model)
