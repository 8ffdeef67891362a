"""Every way of tuning learns a small known task, through the real command line, from recipe to artifact.

LoRA learns it from the answers that best of n keeps.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from korean_llm.artifact import load_manifest
from korean_llm.cli import main
from korean_llm.corpus.card import load_card
from korean_llm.inspection import survey
from korean_llm.training.examples import read_examples
from tests.training.task import ALWAYS, OTHER, RULE, accuracy, instructions, preferences, questions, small_base

CHAIN = ("base", "instruction", "reward", "rejection_sampling", "online", "export", "evaluation")
FAST = "max_tokens: 64, batch_examples: 16, checkpoint_every_steps: 1_000"


def korean_llm(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the command in this process."""
    monkeypatch.setattr(sys, "argv", ["korean-llm", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code or 0) == 0


def execute(monkeypatch: pytest.MonkeyPatch, place: Path, name: str, base: Path, sections: str) -> Path:
    """Write a recipe, run it, and give its run folder."""
    recipe = place / f"{name}.yaml"
    recipe.write_text(f"name: {name}\nbase: {base}\n{sections}\n", encoding="utf-8")
    korean_llm(monkeypatch, "check", str(recipe))
    korean_llm(monkeypatch, "run", str(recipe), "--device", "cpu", "--out", str(place / name))
    return place / name


def metrics(run: Path, stage: str) -> dict[str, Any]:
    manifest = load_manifest(run / stage)
    assert manifest is not None
    return manifest.metrics


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base and the corpora of the task."""
    folder = tmp_path_factory.mktemp("methods")
    small_base(folder / "random")
    chance = random.Random(5)
    wrong = [(ask, say if chance.random() < 0.25 else OTHER[say]) for ask, say in questions(160, 2)]
    instructions(folder / "mostly_wrong", wrong)
    instructions(folder / "rule", questions(160, 1))
    instructions(folder / "always", questions(160, 1, ALWAYS))
    preferences(folder / "pairs", questions(160, 3))
    preferences(folder / "always_pairs", questions(160, 3, ALWAYS))
    return folder


@pytest.fixture(scope="module")
def chain(place: Path, machine) -> Path:
    """A run that tunes every weight on answers mostly wrong, and improves on them by a reward model of its own."""
    with pytest.MonkeyPatch.context() as patch:
        return execute(
            patch,
            place,
            "chain",
            place / "random",
            f"instruction: {{method: full, data: [{place}/mostly_wrong], epochs: 8, learning_rate: 3.0e-3, {FAST}}}\n"
            f"reward: {{data: [{place}/pairs], epochs: 4, learning_rate: 3.0e-3, lora: {{rank: 8}}, {FAST}}}\n"
            f"rejection_sampling: {{data: [{place}/rule], max_prompts: 80, answers: 16, max_answer_tokens: 4}}\n"
            f"online: {{data: [{place}/pairs], answers: 8, batch_prompts: 4, steps: 36, max_answer_tokens: 4,"
            " learning_rate: 3.0e-3, lora: {rank: 8}}\n"
            "export: {formats: [safetensors]}\n"
            'evaluation: {sample_prompts: ["3 밤?"]}',
        )


@pytest.fixture(scope="module")
def wrong(chain: Path, machine) -> Path:
    """A model that is mostly wrong: what is learned after it must turn its answers round."""
    model = chain / "instruction" / "model"
    assert accuracy(model, None, machine) < 0.1 and accuracy(model, None, machine, ALWAYS) < 0.6
    return model


def test_every_stage_stands_on_what_it_says(chain: Path) -> None:
    assert {finding.stage: finding.state for finding in survey(chain)} == dict.fromkeys(CHAIN, "verified")


def test_full_tuning_learns_the_answers(chain: Path, wrong: Path) -> None:
    found = metrics(chain, "instruction")
    assert found["holdout_loss_before"] > 5 and found["holdout_loss_after"] < 0.5
    assert not (chain / "instruction" / "adapter").exists()


def test_the_reward_model_learns_who_is_right(chain: Path) -> None:
    found = metrics(chain, "reward")
    assert found["holdout_accuracy_after"] == 1.0
    assert found["holdout_loss_before"] > 0.4 > 0.2 > found["holdout_loss_after"]


def test_the_best_of_several_answers_follows_the_rule(chain: Path, place: Path, machine, monkeypatch) -> None:
    found = metrics(chain, "rejection_sampling")
    assert found["mean_score_of_best"] > found["mean_score_of_all"]
    corpus = chain / "rejection_sampling" / "corpus"
    assert load_card(corpus).model.kind == "instructions"
    right = [row.messages[1]["content"] == RULE[row.messages[0]["content"][-2]] for row in read_examples([str(corpus)])]
    assert len(right) == 80 and sum(right) / len(right) > 0.8, "of all answers, a quarter is right"
    section = f"instruction: {{data: [{corpus}], epochs: 6, learning_rate: 3.0e-3, lora: {{rank: 8}}, {FAST}}}"
    run = execute(monkeypatch, place, "following", chain / "instruction" / "model", section)
    assert accuracy(run / "base" / "model", run / "instruction" / "adapter", machine) > 0.9


def test_online_tuning_follows_the_reward(chain: Path, wrong: Path, machine) -> None:
    found = metrics(chain, "online")
    assert found["holdout_score_after"] > found["holdout_score_before"]
    assert accuracy(wrong, chain / "online" / "adapter", machine) > 0.9
    assert accuracy(chain / "export" / "model", None, machine) > 0.9, "what is published is what was tuned last"


@pytest.mark.parametrize(
    ("method", "rule", "rate"),
    [
        ("dora", RULE, "3.0e-3"),
        ("head", RULE, "1.0e-2"),
        ("prefix", ALWAYS, "5.0e-2"),
        ("prompt", ALWAYS, "5.0e-2"),
    ],
)
def test_a_method_learns(
    method: str, rule: dict[str, str], rate: str, place: Path, wrong: Path, machine, monkeypatch
) -> None:
    data = place / ("rule" if rule is RULE else "always")
    section = f"instruction: {{method: {method}, data: [{data}], epochs: 5, learning_rate: {rate}, {FAST}}}"
    run = execute(monkeypatch, place, method, wrong, section)
    adapter = run / "instruction" / "adapter"
    model = run / "instruction" / "model" if method == "head" else run / "base" / "model"
    assert accuracy(model, adapter if adapter.exists() else None, machine, rule) > 0.9


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_preferences_are_learned(method: str, place: Path, wrong: Path, machine, monkeypatch) -> None:
    section = (
        f"preference: {{method: {method}, data: [{place}/pairs], epochs: 4, learning_rate: 5.0e-3, beta: 0.3,"
        f" lora: {{rank: 8}}, {FAST}}}"
    )
    run = execute(monkeypatch, place, method, wrong, section)
    assert metrics(run, "preference")["holdout_after"]["rewards_margins"] > 0.3
    assert accuracy(wrong, run / "preference" / "adapter", machine) > 0.9
