"""Tokens of answers a second: our packed instruction tuning beside TRL's default, which pads.

    python tests/benchmarks/packing.py [EXAMPLES]

One model (Llama, 8 layers of width 192, random), one adapter, the same real Korean instructions of all lengths that
fit into 512 tokens, one epoch each, in turn, three times. TRL's default is its own batch of 8 examples, unpacked;
`as TRL ships it` also recomputes activations, which is its default. Ours has the same examples in a step.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import SFTConfig, SFTTrainer

from korean_llm.chat import Chat, open_chat
from korean_llm.machine import Machine
from korean_llm.recipe import InstructionSettings, LoraSettings
from korean_llm.training.examples import Example
from korean_llm.training.instruct import IGNORED, InstructionTrainer, adapter_config, encoded, sft_arguments
from korean_llm.training.tuning import separate_pad
from tests.conftest import CHATML

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruction"
MAX_TOKENS = 512
ROUNDS = 3


def real_rows(count: int) -> list[Example]:
    """Rows of every instruction set there is, mixed, as many of each."""
    chance = random.Random(17)
    rows = []
    files = sorted(DATA.glob("*.jsonl.gz"))
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        rows += chance.sample(found, min(len(found), 2 * count // len(files)))
    chance.shuffle(rows)
    return [
        Example(
            str(n),
            "",
            [said("user", f"{row['instruction']}\n\n{row.get('input', '')}"), said("assistant", row["output"])],
        )
        for n, row in enumerate(rows)
    ]


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text.strip()}


def tokenizer_of(rows: list[Example]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 8,000 tokens, learned from the rows."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8_000,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((m["content"] for row in rows for m in row.messages), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=CHATML
    )


def model_of(chat: Chat) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(chat.tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=1_024,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).float()


def seconds(chat: Chat, args: SFTConfig, rows: Dataset, settings: InstructionSettings) -> float:
    """How long one epoch takes, without opening and packing."""
    trainer = (InstructionTrainer if args.packing else SFTTrainer)(
        model=model_of(chat),
        args=args,
        train_dataset=rows,
        processing_class=chat.tokenizer,
        peft_config=adapter_config(settings),
    )
    trainer.remove_callback(PrinterCallback)
    start = time.perf_counter()
    trainer.train()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    disable_progress_bars()
    examples = real_rows(int(sys.argv[1]) if len(sys.argv) > 1 else 240)
    chat = open_chat(tokenizer_of(examples))
    separate_pad(chat.tokenizer)
    fitting = [row for row in examples if chat.measure(row.messages, "row") <= MAX_TOKENS]
    rows = encoded(fitting[: len(examples) // 2], chat)
    lengths = sorted(len(ids) for ids in rows["input_ids"])
    answers = sum(label != IGNORED for labels in rows["labels"] for label in labels)
    print(
        f"{len(rows)} examples, {sum(lengths):,} tokens, {answers:,} of answers; "
        f"median {lengths[len(lengths) // 2]}, longest {lengths[-1]}"
    )
    settings = InstructionSettings(
        data=["x"], epochs=1.0, max_tokens=MAX_TOKENS, batch_examples=8, lora=LoraSettings(rank=16)
    )
    with tempfile.TemporaryDirectory() as folder:
        shared: dict[str, Any] = {
            "output_dir": folder, "num_train_epochs": 1, "learning_rate": 2e-4, "bf16": False, "use_cpu": True,
            "max_length": MAX_TOKENS, "save_strategy": "no", "report_to": [], "disable_tqdm": True,
            "loss_type": "nll",
        }  # fmt: skip
        ways = {
            "ours, packed": sft_arguments(settings, rows, Path(folder), Machine("cpu", 1), 17),
            "TRL, unpacked": SFTConfig(**shared, gradient_checkpointing=False),
            "TRL, unpacked, as TRL ships it": SFTConfig(**shared),
        }
        ways["ours, packed"].save_strategy = "no"
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, args in ways.items():
                found[name].append(answers / seconds(chat, args, rows, settings))
    ours = found["ours, packed"]
    for name, speeds in found.items():
        ratios = [mine / other for mine, other in zip(ours, speeds, strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        speed = f"{statistics.median(speeds):,.0f} tokens of answers/s"
        print(f"{name}: {speed}; ours is {statistics.median(ratios):.2f} x ({each})")


if __name__ == "__main__":
    main()
