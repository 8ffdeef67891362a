"""Stage `instruction`: tuning by TRL's SFTTrainer, on the assistant's tokens only, with one of seven methods.

Packed rows keep their examples apart by positions that start again and by having no attention mask at all:
transformers then builds a block-diagonal one. tests/training/test_instruct.py proves it for SDPA and eager attention.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftConfig, PrefixTuningConfig, PromptTuningConfig, prepare_model_for_kbit_training
from torch import nn
from transformers import PreTrainedModel, set_seed
from trl import SFTConfig, SFTTrainer

from korean_llm import console
from korean_llm.chat import Chat
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model
from korean_llm.recipe import InstructionSettings
from korean_llm.training import tuning
from korean_llm.training.checkpoints import WholeCheckpoints
from korean_llm.training.chunked import ChunkedLoss
from korean_llm.training.examples import Example, read_examples
from korean_llm.training.loop import micro_batch
from korean_llm.training.split import split

IGNORED = -100
_PACK_TOKENS = {"cpu": 1_024, "cuda": 4_096}


class InstructionTrainer(ChunkedLoss, WholeCheckpoints, SFTTrainer):
    """TRL's trainer, with a loss in chunks and checkpoints that are whole."""


def run(
    settings: InstructionSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Tune on the model of inputs["model"]; write out/adapter in PEFT's own format, or out/model.

    Raises KoreanLLMError where a row, the chat template or the method does not fit.
    """
    set_seed(seed)
    rows = read_examples(settings.data, settings.max_examples)
    chat = tuning.open_tokenizer(inputs)
    examples = split(rows, chat, settings.max_tokens, "instruction")
    model = open_model(settings, inputs["model"] / "model", machine)
    learned = encoded(examples.train, chat)
    trainer = InstructionTrainer(
        model=model,
        args=sft_arguments(settings, learned, out, machine, seed),
        train_dataset=learned,
        eval_dataset=encoded(examples.holdout, chat),
        processing_class=chat.tokenizer,
        peft_config=adapter_config(settings),
        callbacks=tuning.callbacks(out, "instruction"),
    )
    before = tuning.evaluate(trainer)["eval_loss"]
    steps = tuning.train(trainer, out)
    after = tuning.evaluate(trainer)["eval_loss"]
    console.log_metrics(out, phase="after", holdout_loss_before=before, holdout_loss_after=after)
    tuned: Any = trainer.model
    if settings.writes == "adapter":
        tuning.save_adapter(tuned, chat, inputs["model"], out)
    else:
        tuning.save_model(tuned, chat, out)
    tuning.finish(out, examples.too_long)
    return {
        "counts": {**examples.counts, "steps": steps},
        "metrics": {"holdout_loss_before": round(before, 4), "holdout_loss_after": round(after, 4)},
    }


def encoded(examples: list[Example], chat: Chat) -> Dataset:
    """Token ids, and labels that are IGNORED wherever the assistant does not speak."""
    rows = []
    for example in examples:
        ids, mask = chat.encode(example.messages)
        labels = [token if spoken else IGNORED for token, spoken in zip(ids, mask, strict=True)]
        rows.append({"input_ids": ids, "labels": labels})
    return Dataset.from_list(rows)


def open_model(settings: InstructionSettings, folder: Path, machine: Machine) -> PreTrainedModel:
    """The model with what its method trains switched on; adapters are put on by the trainer."""
    quantized = settings.method == "qlora"
    model = load_model(folder, machine, quantized=quantized)
    if quantized:
        return prepare_model_for_kbit_training(model)
    if settings.method == "head":
        free_head(model)
    return model


def free_head(model: PreTrainedModel) -> None:
    """Freeze everything but the output head; a head that is the embedding table gets a table of its own first."""
    model.requires_grad_(False)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is embedding.weight:
        head.weight = nn.Parameter(embedding.weight.detach().clone())
        model.config.tie_word_embeddings = False
    head.weight.requires_grad_(True)


def adapter_config(settings: InstructionSettings) -> PeftConfig | None:
    """PEFT's settings of the method; None for one that trains the model's own weights.

    DoRA: Liu et al. 2024, arXiv 2402.09353. Prefix tuning: Li and Liang 2021, arXiv 2101.00190. Prompt tuning:
    Lester et al. 2021, arXiv 2104.08691.
    """
    if settings.method in ("head", "full"):
        return None
    if settings.method == "prefix":
        return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings.virtual_tokens)
    if settings.method == "prompt":
        return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=settings.virtual_tokens)
    return tuning.lora_config(settings.lora, "CAUSAL_LM", use_dora=settings.method == "dora")


def sft_arguments(settings: InstructionSettings, rows: Dataset, out: Path, machine: Machine, seed: int) -> SFTConfig:
    """The trainer's arguments; packed or not, a step takes batch_examples examples on average."""
    packing = settings.packing and settings.method not in ("prefix", "prompt")
    if packing:
        lengths = [len(ids) for ids in rows["input_ids"]]
        length, batch = pack_shape(lengths, settings.batch_examples, _PACK_TOKENS[machine.torch_device().type])
        micro = 1
    else:
        length, batch = settings.max_tokens, settings.batch_examples
        micro = micro_batch(batch, min(length, 1_024), machine)
    shared = tuning.arguments(
        out,
        machine,
        seed,
        micro=micro,
        batch=batch,
        learning_rate=settings.learning_rate,
        checkpoint_every=settings.checkpoint_every_steps,
    )
    return SFTConfig(
        **shared,
        num_train_epochs=settings.epochs,
        max_length=length,
        packing=packing,
        packing_strategy="bfd",
        eval_packing=False,
        loss_type="nll",
    )


def pack_shape(lengths: list[int], batch: int, limit: int) -> tuple[int, int]:
    """Tokens of a packed row, and packed rows in a step, so that a step holds `batch` examples on average.

    A row has at most `limit` tokens, unless one example alone is longer.
    """
    step = batch * sum(lengths) / len(lengths)
    length = max(max(lengths), math.ceil(step / math.ceil(step / limit)))
    return length, max(1, round(step / length))
