"""Extended against unextended: the same model trained twice with equal settings, by wall time and by bytes read.

    python tests/benchmarks/extension_curve.py MODEL_FOLDER OUT_FOLDER [--minutes 2] [--start fitted]

Each curve trains for so many minutes, measurements not counted (the published figure takes --minutes 10). On a CPU
these are CPU minutes, which are wall time where as many cores are free as threads are used. Both train
everything but the old rows on the same rulings and a little English, through the project's own pretraining. Bits per
byte of held-out rulings, Korean news and English news are drawn against training time and against bytes read.
Writes OUT_FOLDER/extension_curve.json and .png. Needs ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.modeling.load import load_model
from korean_llm.recipe import Phase, PretrainingSettings
from korean_llm.training.blocks import Blocks
from korean_llm.training.phases import Phases, Plan
from korean_llm.training.pretrain import pack
from korean_llm.training.tokens import Tokens
from korean_llm.vocabulary.rows import extend_rows
from korean_llm.vocabulary.starts import METHODS, build_context
from korean_llm.vocabulary.starts.context import spread
from tests.benchmarks.rulings import Extended, Texts, extend, texts

matplotlib.use("Agg")
from matplotlib import pyplot

SEED = 17
BLOCK_TOKENS, BATCH_BLOCKS = 256, 2
MEASURED_BYTES = 4_000
POINTS = 6
DOMAINS = ("rulings", "news", "english")


class BudgetSpentError(Exception):
    """The curve has had its minutes."""


@dataclass
class Clock:
    """A probe that measures at even times, stops the training when its time is up, and is not counted itself."""

    tokenizer: PreTrainedTokenizerBase
    found: Texts
    seconds: float
    bytes_read: np.ndarray
    threads: int
    model: Any = None
    points: list[dict[str, float]] = field(default_factory=list)
    started: float = 0.0
    aside: float = 0.0
    steps: int = 0

    def now(self) -> float:
        """Seconds: of CPU time per thread, or of wall time where a GPU works."""
        return time.process_time() / self.threads if self.threads else time.monotonic()

    def point(self) -> None:
        """Measure now."""
        before = self.now()
        trained = before - self.started - self.aside if self.started else 0.0
        row = {"seconds": round(trained, 1), "bytes": int(self.bytes_read[self.steps])}
        chosen = {"rulings": self.found.rulings, "news": self.found.news, "english": self.found.english}
        for name, domain in chosen.items():
            row[name] = round(bits_per_byte(self.model, self.tokenizer, spread(domain, MEASURED_BYTES)).per_byte, 4)
        self.points.append(row)
        print("  " + ", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        self.aside += self.now() - before if self.started else 0.0

    def measure(self, model: Any) -> dict[str, Any]:
        """Called after every step."""
        self.steps += 1
        trained = self.now() - self.started - self.aside
        if trained >= self.seconds * len(self.points) / POINTS:
            self.point()
        if trained >= self.seconds:
            raise BudgetSpentError
        return {}


def write_corpus(folder: Path, found: Texts) -> Path:
    """The rulings and a tenth of English as a corpus artifact."""
    rows = [("rulings", "ko", text) for text in found.learned]
    rows += [("english", "en", text) for text in found.english_training]
    with gzip.open(folder / "train.jsonl.gz", "wt", encoding="utf-8") as file:
        for number, (source, language, text) in enumerate(rows):
            row = {"id": str(number), "source": source, "language": language, "title": "", "text": text}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    (folder / "shares.json").write_text('{"rulings": 0.9, "english": 0.1}', encoding="utf-8")
    return folder


def bytes_of(plan: Plan, lengths: Mapping[int, int]) -> np.ndarray:
    """Bytes read before each step, and after the last."""
    num_blocks = plan.steps[0] * BATCH_BLOCKS
    blocks = Blocks(Tokens(plan.checkpoints / "tokens"), plan.checkpoints, BLOCK_TOKENS, 0, num_blocks)
    per_block = [
        sum(lengths.get(token, 0) for token in blocks[number]["input_ids"].tolist()) for number in range(num_blocks)
    ]
    return np.concatenate([[0], np.cumsum(np.reshape(per_block, (-1, BATCH_BLOCKS)).sum(1))])


def curve(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lengths: Mapping[int, int],
    new_ids: list[int],
    corpus: Path,
    found: Texts,
    options: argparse.Namespace,
) -> list[dict[str, float]]:
    """Train a model for the minutes of a curve; its points."""
    print(f"{name}:", flush=True)
    set_seed(SEED)
    seconds = 60 * options.minutes
    steps = int(seconds * options.fastest / (BLOCK_TOKENS * BATCH_BLOCKS)) + 1
    phase = Phase(train=["all"], tokens=steps * BLOCK_TOKENS * BATCH_BLOCKS, learning_rate=options.learning_rate)
    settings = PretrainingSettings(
        block_tokens=BLOCK_TOKENS,
        batch_blocks=BATCH_BLOCKS,
        phases=[phase],
        schedule="constant",
        warmup_ratio=0,
        checkpoint_every_steps=10**9,
        evaluate_every_steps=1,
    )
    with tempfile.TemporaryDirectory() as scratch:
        machine = Machine(options.device)
        plan = Plan(settings, options.model, corpus, Path(scratch), new_ids, machine, SEED)
        pack(plan, tokenizer)
        threads = options.threads if machine.torch_device().type == "cpu" else 0
        clock = Clock(tokenizer, found, seconds, bytes_of(plan, lengths), threads)
        phases = Phases(plan, model, clock)  # type: ignore[arg-type]
        clock.model = phases.model
        clock.point()
        clock.started = clock.now()
        try:
            phases.train(1)
        except BudgetSpentError:
            return clock.points
    raise SystemExit("the text that was packed ran out before the minutes were up: give a higher --fastest")


def both(made: Extended, corpus: Path, found: Texts, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """The two curves, one after the other."""
    machine, lengths = Machine(options.device), {id: len(raw) for id, raw in made.family.raw.items()}
    curves = {
        "unextended": curve(
            "unextended", load_model(options.model, machine), made.base, lengths, [], corpus, found, options
        )
    }
    context = build_context(
        made.base, made.extended, made.family.raw, {"ko": found.learned, "en": found.english_training}, SEED
    )
    model = load_model(options.model, machine)
    started = time.monotonic()
    extend_rows(model, made.merges, made.rows, options.start, options.start, context)
    print(f"rows started in {time.monotonic() - started:.0f} s")
    lengths |= {merge.id: len(merge.raw) for merge in made.merges}
    new_ids = [merge.id for merge in made.merges]
    curves["extended"] = curve("extended", model, made.extended, lengths, new_ids, corpus, found, options)
    return curves


def ahead(curves: dict[str, list[dict[str, float]]]) -> dict[str, str]:
    """Domain → which model is ahead where the budget ends, and by how much."""
    found = {}
    for domain in DOMAINS:
        ends = {name: points[-1][domain] for name, points in curves.items()}
        best = min(ends, key=lambda name: ends[name])
        worst = max(ends, key=lambda name: ends[name])
        found[domain] = f"{best} is ahead: {ends[best]} against {ends[worst]} bits per byte"
    return found


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Domains side by side; training time above, bytes read below."""
    figure, grid = pyplot.subplots(2, len(DOMAINS), figsize=(12, 7), sharey="col", layout="constrained")
    for line, (axis, label, scale) in enumerate((("seconds", "minutes trained", 60), ("bytes", "KB read", 1_000))):
        for column, domain in enumerate(DOMAINS):
            plot = grid[line][column]
            for name, points in curves.items():
                plot.plot([p[axis] / scale for p in points], [p[domain] for p in points], marker="o", label=name)
            plot.set(title=domain if line == 0 else "", xlabel=label, ylabel="bits per byte" if column == 0 else "")
            plot.grid(alpha=0.3)
    grid[0][0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train both, write figures and plot, say who is ahead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=2.0, help="training time of each curve")
    parser.add_argument("--new-tokens", type=int, default=4_000)
    parser.add_argument("--start", default="fitted", choices=sorted(METHODS))
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--bytes", type=int, default=5_000_000, help="bytes of rulings to learn from")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "auto"])
    parser.add_argument("--fastest", type=int, default=600, help="tokens per second to pack text for, at most")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    found = texts(options.bytes)
    with tempfile.TemporaryDirectory() as scratch:
        made = extend(options.model, found.learned, options.new_tokens, Path(scratch) / "tokenizer")
        corpus = Path(scratch) / "corpus"
        corpus.mkdir()
        curves = both(made, write_corpus(corpus, found), found, options)
    verdict = ahead(curves)
    report = {"minutes": options.minutes, "start": options.start, "curves": curves, "at_the_end": verdict}
    (options.out / "extension_curve.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    draw(curves, options.out / "extension_curve.png")
    for domain, line in verdict.items():
        print(f"{domain}: after {options.minutes:g} minutes {line}")


if __name__ == "__main__":
    main()
