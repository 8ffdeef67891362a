"""Chunked loss against whole logits: peak memory at 16,384 tokens x 150,000 vocabulary, and time of a head step.

    python tests/benchmarks/loss.py            # memory, then time; needs 17 GB free, about 10 minutes on one core
    python tests/benchmarks/loss.py time

Memory: every method in a process of its own, peak resident size over what it held before the loss. Whole logits of
16,384 tokens take 30 GB in float32 (log-softmax, its gradient, the logits' gradient), so they are measured at 8,192
tokens, and the chunked loss of 16,384 is held against twice that: whole logits grow as the tokens do. Time: one
thread, all methods in turn in every round, median of the rounds' ratios. Peers: whole logits, whole logits with PEFT's
trainable tokens on the head, and torch's own chunked loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import TrainableTokensConfig, get_peft_model
from torch import nn
from torch.nn import LinearCrossEntropyOptions, functional

sys.path.insert(0, str(Path(__file__).parents[2]))
from korean_llm.modeling.loss import linear_cross_entropy
from tests.peak import peak, run_alone, start_peak

TOKENS, VOCABULARY, WIDTH, NEW = 16_384, 150_000, 256, 8_000
HALF = TOKENS // 2
STEP = (1_024, 57_344, 576, 8_192)  # tokens, vocabulary, width, new rows: SmolLM2-135M extended, one micro batch
ROUNDS = 7


class Head(nn.Module):
    """A head alone, as PEFT wants to find it."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.lm_head.weight, std=0.02)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Whole logits."""
        logits: torch.Tensor = self.lm_head(hidden)
        return logits


def whole(hidden: torch.Tensor, table: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss of whole logits."""
    return functional.cross_entropy(hidden @ table.T, labels, reduction="sum")


def methods(tokens: int, vocabulary: int, width: int, new: int) -> dict[str, Callable[[], torch.Tensor]]:
    """Name → a function that gives the loss of one step; the tensors that learn are its closure's."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width, requires_grad=True)
    labels = torch.randint(0, vocabulary, (tokens,))
    first = vocabulary - new
    frozen = torch.randn(vocabulary, width) * 0.02
    table, rows = frozen.clone().requires_grad_(), frozen[first:].clone().requires_grad_()

    def trainable_tokens() -> Callable[[], torch.Tensor]:
        config = TrainableTokensConfig(token_indices=list(range(first, vocabulary)), target_modules=["lm_head"])
        head: Any = get_peft_model(Head(vocabulary, width), config)  # type: ignore[arg-type]
        return lambda: functional.cross_entropy(head(hidden), labels, reduction="sum")

    peft = trainable_tokens()
    options = LinearCrossEntropyOptions()
    return {
        "rows only": lambda: linear_cross_entropy(hidden, frozen, labels, rows_ND=rows, first_id=first),
        "whole table": lambda: linear_cross_entropy(hidden, table, labels),
        "naive, whole table": lambda: whole(hidden, table, labels),
        "naive, PEFT trainable tokens": peft,
        "torch's own, whole table": lambda: functional.linear_cross_entropy(
            hidden, table, labels, reduction="sum", options=options
        ),
    }


def one_peak(name: str, tokens: int) -> None:
    """Print extra bytes and seconds of one step of one method; called in a process of its own."""
    torch.set_num_threads(1)
    step = methods(tokens, VOCABULARY, WIDTH, NEW)[name]
    before, started = start_peak(), time.perf_counter()
    step().backward()
    print(json.dumps({"bytes": peak() - before, "seconds": time.perf_counter() - started}))


def memory() -> bool:
    """Peak over what the tensors themselves take, per method."""
    print(f"memory: vocabulary {VOCABULARY:,}, width {WIDTH}, {NEW:,} new rows, float32")
    cases = [("naive, whole table", HALF), ("whole table", TOKENS), ("rows only", TOKENS)]
    found: dict[str, float] = {}
    for name, tokens in cases:
        result = json.loads(run_alone("tests.benchmarks.loss", "one", name, str(tokens)).splitlines()[-1])
        found[name] = result["bytes"] * TOKENS / tokens if tokens == HALF else result["bytes"]
        print(f"  {name:30} {tokens:6,} tokens {result['bytes'] / 1e9:7.3f} GB {result['seconds']:7.1f} s", flush=True)
    ratios = {name: found[name] / found["naive, whole table"] for name in ("whole table", "rows only")}
    for name, ratio in ratios.items():
        print(f"  {name}: {ratio:.3f} x naive (bar: at most 0.15)")
    return max(ratios.values()) <= 0.15


def exact() -> bool:
    """Loss and gradients beside whole logits, at a size at which both fit easily."""
    torch.manual_seed(0)
    hidden, table = torch.randn(1_024, WIDTH), torch.randn(VOCABULARY, WIDTH) * 0.05
    labels = torch.randint(0, VOCABULARY, (1_024,))
    results = []
    for loss_of in (linear_cross_entropy, whole):
        tensors = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        loss = loss_of(*tensors, labels) / len(labels)
        results.append((loss.item(), torch.autograd.grad(loss, tensors)))
    (mine, my_gradients), (naive, gradients) = results
    worst = max(((a - b).norm() / b.norm()).item() for a, b in zip(my_gradients, gradients, strict=True))
    print(f"exact: loss differs by {abs(mine - naive):.1e} (bar 1e-5), gradients by {worst:.1e} relative (bar 1e-4)")
    return abs(mine - naive) <= 1e-5 and worst <= 1e-4


def speed() -> bool:
    """Seconds of forward and backward, every method once a round."""
    torch.set_num_threads(1)
    tokens, vocabulary, width, new = STEP
    print(f"time: {tokens:,} tokens, vocabulary {vocabulary:,}, width {width}, {new:,} new rows, float32, one thread")
    steps = methods(*STEP)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            started = time.perf_counter()
            step().backward()
            seconds[name].append(time.perf_counter() - started)
    ratios = {}
    for name, taken in seconds.items():
        pairs = zip(taken[1:], seconds["rows only"][1:], strict=True)  # the first round warms up
        ratios[name] = statistics.median(other / rows for other, rows in pairs)
        print(f"  {name:30} {statistics.median(taken[1:]):7.2f} s, rows only is {ratios[name]:.2f} x as fast")
    print("  bar: rows only at least 1.25 x as fast as the whole table")
    return min(ratios["whole table"], ratios["naive, whole table"]) >= 1.25


def main() -> int:
    """Run what is asked for; 0 where every bar holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["exact", "memory", "time"])
    options = parser.parse_args()
    if options.what[0] == "one":
        one_peak(options.what[1], int(options.what[2]))
        return 0
    parts = {"exact": exact, "memory": memory, "time": speed}
    held = [parts[name]() for name in options.what]
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
