"""Stage `preference`: DPO or KTO by TRL, going on from the instruction adapter, which is also the reference."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from korean_llm import console
from korean_llm.chat import Chat
from korean_llm.machine import Machine
from korean_llm.recipe import PreferenceSettings
from korean_llm.training import tuning
from korean_llm.training.checkpoints import WholeCheckpoints
from korean_llm.training.examples import Judged, Pair, read_judged, read_pairs
from korean_llm.training.loop import micro_batch
from korean_llm.training.split import Split, split

_FIGURES = ("loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected")


class WholeKTOTrainer(WholeCheckpoints, KTOTrainer):
    """TRL's trainer, with checkpoints that are whole."""


class WholeDPOTrainer(WholeCheckpoints, DPOTrainer):
    """TRL's trainer, with checkpoints that are whole."""


def run(
    settings: PreferenceSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Tune the adapter of inputs["adapter"], or a new one, on the model of inputs["model"]; write out/adapter.

    Raises KoreanLLMError where a row or the chat template does not fit.
    """
    set_seed(seed)
    rows: Any = (read_pairs if settings.method == "dpo" else read_judged)(settings.data, settings.max_examples)
    chat = tuning.open_tokenizer(inputs)
    examples = split(rows, chat, settings.max_tokens, "preference")
    trainer = preference_trainer(settings, examples, chat, inputs, out, machine, seed)
    before = figures(tuning.evaluate(trainer))
    steps = tuning.train(trainer, out)
    after = figures(tuning.evaluate(trainer))
    console.log_metrics(out, phase="after", before=before, after=after)
    model: Any = trainer.model
    tuning.save_adapter(model, chat, inputs["model"], out)
    tuning.finish(out, examples.too_long)
    return {
        "counts": {**examples.counts, "steps": steps},
        "metrics": {"holdout_before": before, "holdout_after": after},
    }


def figures(measured: dict[str, Any]) -> dict[str, float]:
    """What the trainer measured on the held-out rows: loss, accuracy, margin and rewards, where the method has them."""
    found = {name.replace("/", "_"): measured.get(f"eval_{name}") for name in _FIGURES}
    return {name: round(float(value), 6) for name, value in found.items() if value is not None}


def preference_trainer(
    settings: PreferenceSettings,
    examples: Split[Any],
    chat: Chat,
    inputs: dict[str, Path],
    out: Path,
    machine: Machine,
    seed: int,
) -> DPOTrainer | KTOTrainer:
    """TRL's trainer of the method. The reference is a frozen copy of the adapter, or the model without one."""
    model, peft_config = tuning.open_policy(inputs, settings.lora, settings.quantized_base, machine)
    kto = settings.method == "kto"
    shared: dict[str, Any] = {
        **tuning.arguments(
            out,
            machine,
            seed,
            micro=_micro(settings, machine),
            batch=settings.batch_examples,
            learning_rate=settings.learning_rate,
            checkpoint_every=settings.checkpoint_every_steps,
        ),
        "num_train_epochs": settings.epochs,
        "beta": settings.beta,
        "max_length": settings.max_tokens,
    }
    parts: dict[str, Any] = {
        "model": model,
        "train_dataset": answers(examples.train, seed) if kto else pairs(examples.train),
        "eval_dataset": answers(examples.holdout, seed) if kto else pairs(examples.holdout),
        "processing_class": chat.tokenizer,
        "peft_config": peft_config,
        "callbacks": tuning.callbacks(out, "preference"),
    }
    return (
        WholeKTOTrainer(args=KTOConfig(**shared), **parts)
        if kto
        else WholeDPOTrainer(args=DPOConfig(**shared), **parts)
    )


def _micro(settings: PreferenceSettings, machine: Machine) -> int:
    """Rows in a forward pass. KTO compares a batch's answers with each other, so it takes two at least."""
    if settings.method == "dpo":
        return micro_batch(settings.batch_examples, 2 * min(settings.max_tokens, 512), machine)
    found = micro_batch(settings.batch_examples, min(settings.max_tokens, 512), machine)
    divisors = (size for size in range(2, settings.batch_examples + 1) if settings.batch_examples % size == 0)
    return max(found, next(divisors))


def pairs(rows: list[Pair]) -> Dataset:
    """Pairs as TRL reads them."""
    return Dataset.from_list(
        [{"prompt": row.prompt, "chosen": [row.chosen], "rejected": [row.rejected]} for row in rows]
    )


def answers(rows: list[Judged], seed: int) -> Dataset:
    """Judged answers as TRL reads them, shuffled here: KTO reads them in order and compares neighbors."""
    mixed = random.Random(seed).sample(rows, len(rows))
    return Dataset.from_list([{"prompt": row.prompt, "completion": [row.answer], "label": row.wanted} for row in mixed])
