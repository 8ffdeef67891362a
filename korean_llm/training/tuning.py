"""What every stage that tunes on a frozen model shares: its model, its arguments, its checkpoints, its adapter.

Thin over TRL and PEFT. Every trainer of TRL takes the same arguments for the machine, the checkpoints and the order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, prepare_model_for_kbit_training
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback

from korean_llm.artifact import write_json
from korean_llm.chat import TEMPLATE, Chat, open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.recipe import LoraSettings
from korean_llm.training.checkpoints import last_checkpoint
from korean_llm.training.faults import StopsAtSignal
from korean_llm.training.loop import Live
from korean_llm.training.split import TooLong

CHECKPOINTS = "checkpoints"
LEFT_OUT = "left_out.jsonl"


def open_tokenizer(inputs: dict[str, Path]) -> Chat:
    """The chat of the adapter to go on from, or of the model; padding has a token of its own.

    Raises KoreanLLMError where the adapter was trained with another template.
    """
    adapter = adapter_of(inputs)
    chat = open_chat(load_tokenizer(adapter or inputs["model"] / "model"))
    if adapter:
        chat.check_kept_with(adapter)
    separate_pad(chat.tokenizer)
    return chat


def adapter_of(inputs: dict[str, Path]) -> Path | None:
    """The folder of the adapter among a stage's inputs, None where it has none."""
    return inputs["adapter"] / "adapter" if "adapter" in inputs else None


def separate_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give padding a token of its own among those the tokenizer has: pad = eos would hide the end of answers.

    Raises KoreanLLMError where the tokenizer has no other token to pad with.
    """
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    for token in (tokenizer.unk_token, *tokenizer.all_special_tokens):
        if token and token != tokenizer.eos_token:
            tokenizer.pad_token = token
            return
    raise KoreanLLMError("the tokenizer has no token but EOS to pad with; set pad_token in its tokenizer_config.json.")


def open_policy(
    inputs: dict[str, Path], lora: LoraSettings, quantized: bool, machine: Machine
) -> tuple[PreTrainedModel | PeftModel, LoraConfig | None]:
    """The model to tune: with the adapter to go on from, or with the settings of a new one.

    Raises KoreanLLMError where a 4-bit base is asked for and cannot be had.
    """
    model = load_model(inputs["model"] / "model", machine, quantized=quantized)
    if quantized:
        model = prepare_model_for_kbit_training(model)
    adapter = adapter_of(inputs)
    if adapter is None:
        return model, lora_config(lora, "CAUSAL_LM")
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=True), None


def lora_config(lora: LoraSettings, task: str, **options: Any) -> LoraConfig:
    """PEFT's settings of a LoRA adapter; options: what a method adds to them."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type=task,
        **options,
    )


def arguments(
    out: Path, machine: Machine, seed: int, *, micro: int, batch: int, learning_rate: float, checkpoint_every: int
) -> dict[str, Any]:
    """The arguments that all of TRL's trainers share; micro: rows in a forward pass, batch: rows in a step."""
    cuda = machine.torch_device().type == "cuda"
    return {
        "output_dir": str(out / CHECKPOINTS),
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": batch // micro,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "cosine",
        "bf16": cuda,
        "use_cpu": not cuda,
        "activation_checkpointing": cuda,
        "save_strategy": "steps",
        "save_steps": checkpoint_every,
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": [machine.report_to] if machine.report_to else [],
        "seed": seed,
        "data_seed": seed,
    }


def callbacks(out: Path, label: str) -> list[TrainerCallback]:
    """What watches every tuning: live progress, and a signal to stop."""
    return [Live(out, label, 0), StopsAtSignal()]


def evaluate(trainer: Trainer) -> dict[str, float]:
    """The trainer's figures on the held-out rows."""
    trainer.remove_callback(PrinterCallback)  # it would print to stdout
    return trainer.evaluate()


def train(trainer: Trainer, out: Path) -> int:
    """Train from the newest whole checkpoint, if any, to the end; the number of steps."""
    trainer.remove_callback(PrinterCallback)
    resume = last_checkpoint(out / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return int(trainer.state.global_step)


def save_adapter(model: PeftModel, chat: Chat, base: Path, out: Path) -> None:
    """Write out/adapter as plain PEFT reads it, with tokenizer and template; base: the artifact it stands on.

    The base is named relative to the run, not by a path of this machine.
    """
    for name in [name for name in model.peft_config if name != "default"]:
        model.delete_adapter(name)  # TRL keeps its frozen reference as a second adapter
    model.peft_config["default"].base_model_name_or_path = f"../../{base.name}/model"
    model.save_pretrained(str(out / "adapter"))
    _save_chat(chat, out / "adapter")


def save_model(model: PreTrainedModel, chat: Chat, out: Path) -> None:
    """Write out/model: an ordinary checkpoint folder, with tokenizer and template."""
    model.save_pretrained(out / "model")
    _save_chat(chat, out / "model")


def _save_chat(chat: Chat, folder: Path) -> None:
    chat.tokenizer.save_pretrained(str(folder))
    write_json(folder / TEMPLATE, chat.describe())


def finish(out: Path, too_long: Sequence[TooLong]) -> None:
    """Note the rows left out, and remove the checkpoints: the artifact is whole."""
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in too_long]
    (out / LEFT_OUT).write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
