"""Every way to start new rows on a real model, in and out of the domain that the tokens were learned in.

    python tests/benchmarks/tournament.py MODEL_FOLDER [--new-tokens 4000] [--json FILE]

MODEL_FOLDER is the unextended model (the bars are set for SmolLM2-135M). Tokens are learned from 5 MB of rulings; the
tournament runs on other rulings and English; then mean, transformers' default and the winner are measured on news too.
Needs ../shared/data beside the checkout; about 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transformers import PreTrainedModel

from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.modeling.load import load_model
from korean_llm.vocabulary.rows import extend_rows
from korean_llm.vocabulary.starts import StartContext, build_context
from korean_llm.vocabulary.starts.context import spread
from korean_llm.vocabulary.tournament import TournamentResult, tournament
from tests.benchmarks.rulings import Extended, Texts, extend, texts

SEED = 17
MEASURED_BYTES = 16_000


def measured(model: PreTrainedModel, tokenizer: Any, found: Texts) -> dict[str, float]:
    """Bits per byte on held-out rulings, Korean news and English news."""
    domains = {"rulings": found.rulings, "news": found.news, "english": found.english}
    return {
        name: bits_per_byte(model, tokenizer, spread(chosen, MEASURED_BYTES)).per_byte
        for name, chosen in domains.items()
    }


def domains(
    model: PreTrainedModel, made: Extended, context: StartContext, found: Texts, result: TournamentResult
) -> dict[str, dict[str, float]]:
    """Way → domain → bits per byte, for the winner and what it has to beat."""
    ways = {"winner": (result.inputs, result.outputs), "mean": ("mean", "mean"), "default": ("normal", "normal")}
    figures = {}
    for name, (inputs, outputs) in ways.items():
        extend_rows(model, made.merges, made.rows, inputs, outputs, context)  # type: ignore[arg-type]
        figures[name] = measured(model, made.extended, found)
    return figures


def bars(base: dict[str, float], figures: dict[str, dict[str, float]]) -> list[tuple[str, bool]]:
    """What is asked of the winner, and whether it holds."""
    winner, mean, default = figures["winner"], figures["mean"], figures["default"]
    lines = []
    for domain in ("rulings", "news"):
        lines.append((f"{domain}: below mean of constituents", winner[domain] < mean[domain]))
        excess = (winner[domain] - base[domain]) / (default[domain] - base[domain])
        lines.append((f"{domain}: excess over the base is {excess:.0%} of the default start's, ≤ 50%", excess <= 0.5))
    rise = winner["english"] / base["english"] - 1
    lines.append((f"English {rise:+.2%} against the base, within 0.5%", abs(rise) <= 0.005))
    return lines


def show(base: dict[str, float], figures: dict[str, dict[str, float]], result: TournamentResult) -> None:
    """Print the tournament's table, the domains and the bars as Markdown."""
    print(f"\nTournament: {result.inputs} / {result.outputs} wins\n")
    columns = [name for name in result.table[1] if name != "eligible"]
    print("| " + " | ".join([*columns, "eligible"]) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for row in result.table:
        print("| " + " | ".join(str(row.get(name, "")) for name in [*columns, "eligible"]) + " |")
    print("\n| start | rulings | news | English |\n|---|---|---|---|")
    for name, values in {"unextended base": base, **figures}.items():
        cells = [f"{value:.4f} ({value / base[domain] - 1:+.1%})" for domain, value in values.items()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()
    for text, holds in bars(base, figures):
        print(f"{'holds' if holds else 'FAILS'}  {text}")


def main() -> int:
    """Run the tournament and print what came of it; 1 where a bar fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--new-tokens", type=int, default=4_000)
    parser.add_argument("--bytes", type=int, default=5_000_000, help="bytes of rulings to learn from")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "auto"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    machine, found = Machine(options.device), texts(options.bytes)
    with tempfile.TemporaryDirectory() as scratch:
        made = extend(options.model, found.learned, options.new_tokens, Path(scratch))
    model = load_model(options.model, machine)
    base = measured(model, made.base, found)
    training = {"ko": found.learned, "en": found.english_training}
    context = build_context(made.base, made.extended, made.family.raw, training, SEED)
    started = time.monotonic()
    result = tournament(
        model, made.base, made.extended, made.merges, made.rows, context, found.learned, found.holdout, machine, SEED
    )
    print(f"tournament: {time.monotonic() - started:.0f} s on {machine.describe()}")
    figures = domains(model, made, context, found, result)
    show(base, figures, result)
    if options.json:
        report = {"base": base, "domains": figures, "tournament": asdict(result)}
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return 0 if all(holds for _, holds in bars(base, figures)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
