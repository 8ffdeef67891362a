"""Speed of pretraining against a bare transformers Trainer: same model, same blocks, interleaved, in one run.

    python tests/benchmarks/training.py [--steps 30] [--rounds 3]

Both train every weight of a Llama of 26 M parameters with 32,000 tokens of vocabulary on equal blocks, which the bare
Trainer holds as tensors ready to use; then our phase of new rows alone, which the bare Trainer does not know.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from korean_llm.machine import Machine
from korean_llm.recipe import Phase, PretrainingSettings
from korean_llm.training.loop import stack
from korean_llm.training.phases import Phases, Plan
from korean_llm.training.pretrain import pack
from korean_llm.training.probe import Probe
from tests.conftest import make_tokenizer, write_corpus

BLOCK, BATCH, VOCABULARY, NEW = 512, 2, 32_000, 2_000
EVERYTHING = ["all", "input_rows", "output_rows"]


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=BLOCK,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def plan_of(train: list[str], steps: int, corpus: Path, out: Path) -> Plan:
    settings = PretrainingSettings(
        block_tokens=BLOCK,
        batch_blocks=BATCH,
        phases=[Phase(train=train, tokens=BLOCK * BATCH * steps, learning_rate=1e-4)],
        checkpoint_every_steps=10**6,
        evaluate_every_steps=10**6,
    )
    out.mkdir()
    return Plan(settings, out, corpus, out, list(range(VOCABULARY - NEW, VOCABULARY)), Machine("cpu", 1), 17)


def ours(train: list[str], steps: int, corpus: Path, out: Path) -> float:
    """Tokens per second of the steps after the first, by the run's own log."""
    plan, tokenizer = plan_of(train, steps, corpus, out), make_tokenizer()
    pack(plan, tokenizer)
    Phases(plan, model(), Probe(plan.settings, corpus, tokenizer)).train(1)
    times = [json.loads(line)["time_s"] for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return BLOCK * BATCH * (steps - 1) / (times[-1] - times[0])


class Clock(Trainer):
    """A bare Trainer that notes when its steps are logged."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self.times.append(time.time())
        super().log(logs, start_time)


def bare(steps: int, corpus: Path, out: Path) -> float:
    """The same of transformers' Trainer with our arguments."""
    plan = plan_of(EVERYTHING, steps, corpus, out)
    pack(plan, make_tokenizer())
    phases = Phases(plan, model(), Probe(plan.settings, corpus, make_tokenizer()))
    blocks = phases._blocks(0, steps, 0)
    ready = [blocks[index] for index in range(len(blocks))]
    arguments: TrainingArguments = phases._arguments(1)
    trainer = Clock(model=model(), args=arguments, train_dataset=ready, data_collator=stack)
    trainer.times = []
    trainer.train()
    return BLOCK * BATCH * (steps - 1) / (trainer.times[-1] - trainer.times[0])


def main() -> None:
    """Interleave the three, and print medians and ratios."""
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    corpus = write_corpus(folder / "corpus", 400)
    found: dict[str, list[float]] = {"bare Trainer": [], "korean-llm": [], "korean-llm, new rows alone": []}
    for number in range(chosen.rounds):
        found["bare Trainer"].append(bare(chosen.steps, corpus, folder / f"bare{number}"))
        found["korean-llm"].append(ours(EVERYTHING, chosen.steps, corpus, folder / f"all{number}"))
        rows = ours(["new_input_rows", "new_output_rows"], chosen.steps, corpus, folder / f"rows{number}")
        found["korean-llm, new rows alone"].append(rows)
    usual = statistics.median(found["bare Trainer"])
    for name, speeds in found.items():
        ratios = [one / other for one, other in zip(speeds, found["bare Trainer"], strict=True)]
        print(f"{name}: {statistics.median(speeds):,.0f} tokens/s, {statistics.median(ratios):.2f} × bare")
    print(f"(bare: {usual:,.0f} tokens/s; one thread)")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
