"""Stage `instruction`: LoRA instruction tuning by TRL's SFTTrainer, on the assistant's tokens only."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig, prepare_model_for_kbit_training
from transformers import PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.chat import open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.recipe import InstructionSettings
from korean_llm.training.checkpoints import WholeCheckpoints, last_checkpoint
from korean_llm.training.examples import Example, read_examples, split
from korean_llm.training.faults import StopsAtSignal
from korean_llm.training.loop import Live, micro_batch


class InstructionTrainer(WholeCheckpoints, SFTTrainer):
    """TRL's trainer with checkpoints that are whole."""


def run(
    settings: InstructionSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Tune an adapter on the model of inputs["model"]; write out/adapter in PEFT's own format."""
    set_seed(seed)
    folder = inputs["model"] / "model"
    tokenizer = load_tokenizer(folder)
    chat = open_chat(tokenizer)
    examples = split(read_examples(settings.data, settings.max_examples), chat, settings.max_tokens)
    separate_pad(tokenizer)
    served_template, tokenizer.chat_template = tokenizer.chat_template, chat.training_template
    trainer = _trainer(settings, folder, tokenizer, examples.train, examples.holdout, out, machine, seed)
    before = trainer.evaluate()["eval_loss"]
    resume = last_checkpoint(out / "checkpoints")
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    after = trainer.evaluate()["eval_loss"]
    console.log_metrics(out, phase="after", holdout_loss_before=before, holdout_loss_after=after)

    tokenizer.chat_template = served_template
    _save(trainer, tokenizer, inputs["model"], out)
    write_json(out / "adapter" / "template.json", chat.describe())
    shutil.rmtree(out / "checkpoints")
    return {
        "counts": {
            "examples": len(examples.train),
            "held_out": len(examples.holdout),
            "too_long": examples.too_long,
            "steps": trainer.state.max_steps,
        },
        "metrics": {"holdout_loss_before": round(before, 4), "holdout_loss_after": round(after, 4)},
    }


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


def _dataset(examples: list[Example]) -> Dataset:
    return Dataset.from_list([{"messages": example.messages} for example in examples])


def _trainer(
    settings: InstructionSettings,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    train: list[Example],
    holdout: list[Example],
    out: Path,
    machine: Machine,
    seed: int,
) -> SFTTrainer:
    quantized = settings.method == "qlora"
    model = load_model(folder, machine, quantized=quantized)
    if quantized:
        model = prepare_model_for_kbit_training(model)
    trainer = InstructionTrainer(
        model=model,
        args=_arguments(settings, out / "checkpoints", machine, seed),
        train_dataset=_dataset(train),
        eval_dataset=_dataset(holdout),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=settings.lora.rank,
            lora_alpha=settings.lora.alpha,
            lora_dropout=settings.lora.dropout,
            target_modules=settings.lora.target_modules,
            task_type="CAUSAL_LM",
        ),
        callbacks=[Live(out, "instruction", 0), StopsAtSignal()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(settings: InstructionSettings, folder: Path, machine: Machine, seed: int) -> SFTConfig:
    cuda = machine.torch_device().type == "cuda"
    micro = micro_batch(settings.batch_examples, min(settings.max_tokens, 1_024), machine)
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=settings.batch_examples // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        max_length=settings.max_tokens,
        assistant_only_loss=True,
        loss_type="nll",
        bf16=cuda,
        use_cpu=not cuda,
        activation_checkpointing=cuda,
        save_strategy="steps",
        save_steps=settings.checkpoint_every_steps,
        logging_steps=1,
        disable_tqdm=True,
        report_to=[],
        seed=seed,
        data_seed=seed,
        dataset_num_proc=None,
    )


def _save(trainer: SFTTrainer, tokenizer: PreTrainedTokenizerBase, model: Path, out: Path) -> None:
    """Save the adapter; its base is named relative to the run, not by a path of this machine."""
    adapter: Any = trainer.model
    for config in adapter.peft_config.values():
        config.base_model_name_or_path = f"../../{model.name}/model"
    adapter.save_pretrained(str(out / "adapter"))
    tokenizer.save_pretrained(str(out / "adapter"))
