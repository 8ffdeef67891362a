"""Answers drawn and kept: the same for the same prompt, none that was cut, and a killed run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from korean_llm.chat import open_chat
from korean_llm.machine import Machine
from korean_llm.recipe import LoraSettings, RejectionSamplingSettings, RewardSettings, Sampling
from korean_llm.training import rejection_sampling, reward
from korean_llm.training.examples import Prompt, read_examples
from korean_llm.training.judge import Judge
from korean_llm.training.sampling import draw, open_tuned
from tests.conftest import make_tokenizer
from tests.training.task import instructions, preferences, questions, small_base

PROMPTS = [Prompt(f"p{n}", "c", [{"role": "user", "content": f"{n} A?"}]) for n in range(3)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> Path:
    """A base that ends answers early now and then, and a reward model."""
    folder = tmp_path_factory.mktemp("sampling")
    small_base(folder / "base" / "model")
    chosen = RewardSettings(
        data=[preferences(folder / "pairs", questions(40, 3))], max_tokens=64, lora=LoraSettings(rank=4)
    )
    (folder / "reward").mkdir()
    reward.run(chosen, {"model": folder / "base"}, folder / "reward", machine, 17)
    instructions(folder / "rule", questions(8, 1))
    return folder


def test_a_prompt_alone_decides_its_answers(place: Path, machine: Machine) -> None:
    model, chat = open_tuned(place / "base" / "model", None, machine), open_chat(make_tokenizer())
    settings = Sampling(data=["x"], answers=3, max_answer_tokens=8)
    first = [draw(model, chat, prompt, settings, 17) for prompt in PROMPTS]
    torch.manual_seed(3)  # the global generator must not matter, nor be touched
    state = torch.get_rng_state()
    again = [draw(model, chat, prompt, settings, 17) for prompt in reversed(PROMPTS)]
    assert torch.equal(torch.get_rng_state(), state)
    assert list(reversed(again)) == first
    assert draw(model, chat, PROMPTS[0], settings, 18) != first[0]
    assert len({answer.text for answers in first for answer in answers}) > 5


def settings(place: Path) -> RejectionSamplingSettings:
    return RejectionSamplingSettings(data=[str(place / "rule")], answers=40, max_answer_tokens=24)


def rows(out: Path) -> list[dict]:
    text = (out / "corpus" / "instructions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_killed_run_goes_on_with_the_next_prompt(
    place: Path, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"model": place / "base", "reward": place / "reward"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    counts = rejection_sampling.run(settings(place), inputs, whole, machine, 17)["counts"]
    assert counts["rows"] + counts["unanswered"] == 8 and counts["rows"] > 0

    calls, score = [0], Judge.score

    def interrupted(self: Judge, conversations):
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return score(self, conversations)

    monkeypatch.setattr(Judge, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rejection_sampling.run(settings(place), inputs, broken, machine, 17)
    answers = broken / "checkpoints" / "answers.jsonl"
    assert answers.read_text(encoding="utf-8").count("\n") == 3
    with answers.open("a", encoding="utf-8") as file:
        file.write('{"place": "torn')
    rejection_sampling.run(settings(place), inputs, broken, machine, 17)
    assert calls[0] == 4 + 5, "three prompts are not asked again"
    assert rows(broken) == rows(whole)
    assert not (broken / "checkpoints").exists()


def test_what_is_kept_is_a_corpus_of_the_best_answers(place: Path, machine: Machine, tmp_path: Path) -> None:
    inputs = {"model": place / "base", "reward": place / "reward"}
    found = rejection_sampling.run(settings(place), inputs, tmp_path, machine, 17)["metrics"]
    judge = Judge.open(place / "base" / "model", place / "reward" / "adapter", machine)
    kept = read_examples([str(tmp_path / "corpus")])
    scores = judge.score([example.messages for example in kept])
    assert scores == pytest.approx([row["score"] for row in rows(tmp_path)], abs=1e-3)
    assert found["mean_score_of_best"] == pytest.approx(sum(scores) / len(scores), abs=1e-3)
    assert found["mean_score_of_best"] >= found["mean_score_of_all"]
