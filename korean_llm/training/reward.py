"""Stage `reward`: a model that scores answers, learned from pairs by TRL's RewardTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import RewardConfig, RewardTrainer

from korean_llm import console
from korean_llm.chat import Chat
from korean_llm.machine import Machine
from korean_llm.recipe import RewardSettings
from korean_llm.training import tuning
from korean_llm.training.checkpoints import WholeCheckpoints
from korean_llm.training.examples import Pair, read_pairs
from korean_llm.training.judge import load_scoring_model
from korean_llm.training.loop import micro_batch
from korean_llm.training.split import split


class WholeRewardTrainer(WholeCheckpoints, RewardTrainer):
    """TRL's trainer, with checkpoints that are whole."""


def run(settings: RewardSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int) -> dict[str, Any]:
    """Learn which answers are preferred, from the model of inputs["model"]; write out/adapter with its score head.

    Raises KoreanLLMError where a row or the chat template does not fit.
    """
    set_seed(seed)
    rows = read_pairs(settings.data, settings.max_examples, "reward")
    chat = tuning.open_tokenizer({"model": inputs["model"]})
    examples = split(rows, chat, settings.max_tokens, "reward")
    model = load_scoring_model(inputs["model"] / "model", machine)
    trainer = WholeRewardTrainer(
        model=model,
        args=_arguments(settings, out, machine, seed),
        train_dataset=encoded(examples.train, chat),
        eval_dataset=encoded(examples.holdout, chat),
        processing_class=chat.tokenizer,
        peft_config=tuning.lora_config(settings.lora, "SEQ_CLS"),
        callbacks=tuning.callbacks(out, "reward"),
    )
    before = tuning.evaluate(trainer)
    steps = tuning.train(trainer, out)
    after = tuning.evaluate(trainer)
    metrics = {
        f"holdout_{name}_{when}": round(measured[f"eval_{name}"], 4)
        for when, measured in (("before", before), ("after", after))
        for name in ("loss", "accuracy")
    }
    console.log_metrics(out, phase="after", **metrics)
    scoring: Any = trainer.model
    tuning.save_adapter(scoring, chat, inputs["model"], out)
    tuning.finish(out, examples.too_long)
    return {
        "counts": {**examples.counts, "steps": steps},
        "metrics": metrics,
    }


def encoded(rows: list[Pair], chat: Chat) -> Dataset:
    """Token ids of both conversations of every pair, as the judge will render them."""
    found = []
    for row in rows:
        chosen, rejected = (chat.encode(messages)[0] for messages in row.conversations)
        found.append({"chosen_ids": chosen, "rejected_ids": rejected})
    return Dataset.from_list(found)


def _arguments(settings: RewardSettings, out: Path, machine: Machine, seed: int) -> RewardConfig:
    micro = micro_batch(settings.batch_examples, 2 * min(settings.max_tokens, 512), machine)
    shared = tuning.arguments(
        out,
        machine,
        seed,
        micro=micro,
        batch=settings.batch_examples,
        learning_rate=settings.learning_rate,
        checkpoint_every=settings.checkpoint_every_steps,
    )
    return RewardConfig(**shared, num_train_epochs=settings.epochs, max_length=settings.max_tokens)
