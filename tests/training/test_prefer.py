"""Preference and reward tuning: where they start, what they leave, and that a kill costs nothing."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from korean_llm.chat import open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.recipe import InstructionSettings, LoraSettings, PreferenceSettings, RewardSettings
from korean_llm.training import instruct, prefer, reward
from korean_llm.training.judge import Judge
from tests.test_chat import WITH_SYSTEM
from tests.training.task import instructions, preferences, questions, small_base

LORA = LoraSettings(rank=4)
ROOT = Path(__file__).resolve().parents[2]


def settings(place: Path, **changes) -> PreferenceSettings:
    values = {"data": [str(place / "pairs")], "max_tokens": 64, "batch_examples": 4, "lora": LORA}
    return PreferenceSettings(**{**values, "learning_rate": 1e-3, "checkpoint_every_steps": 2, **changes})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> Path:
    """A base, an instruction adapter on it, and pairs."""
    folder = tmp_path_factory.mktemp("prefer")
    small_base(folder / "base" / "model")
    preferences(folder / "pairs", questions(40, 3))
    chosen = InstructionSettings(
        data=[instructions(folder / "rule", questions(40, 1))],
        epochs=2.0,
        max_tokens=64,
        batch_examples=4,
        learning_rate=3e-3,
        lora=LORA,
    )
    (folder / "instruction").mkdir()
    instruct.run(chosen, {"model": folder / "base"}, folder / "instruction", machine, 17)
    return folder


def inputs(place: Path, adapter: bool = True) -> dict[str, Path]:
    return {"model": place / "base"} | ({"adapter": place / "instruction"} if adapter else {})


@pytest.mark.parametrize("adapter", [True, False], ids=["from an adapter", "from the base"])
def test_dpo_starts_at_the_reference(place: Path, adapter: bool, machine: Machine, tmp_path: Path) -> None:
    found = prefer.run(settings(place, epochs=0.2), inputs(place, adapter), tmp_path, machine, 17)["metrics"]
    before = found["holdout_before"]
    assert before["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert before["rewards_margins"] == before["rewards_chosen"] == before["rewards_rejected"] == 0
    assert found["holdout_after"]["loss"] != before["loss"]


def test_what_is_left_is_one_plain_adapter(place: Path, machine: Machine, tmp_path: Path) -> None:
    out = tmp_path / "preference"
    out.mkdir()
    prefer.run(settings(place, method="kto"), inputs(place), out, machine, 17)
    assert not (out / "adapter" / "ref").exists() and not (out / "checkpoints").exists()
    config = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "../../base/model"
    old, new = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (place / "instruction", out))
    assert old.keys() == new.keys() and any(not torch.equal(old[name], new[name]) for name in old)
    adapted = PeftModel.from_pretrained(load_model(place / "base" / "model", machine), out / "adapter")
    assert list(adapted.peft_config) == ["default"]


def test_another_template_is_refused(place: Path, machine: Machine, tmp_path: Path) -> None:
    copied = tmp_path / "instruction"
    subprocess.run(["cp", "-r", str(place / "instruction"), str(copied)], check=True)
    template = copied / "adapter" / "chat_template.jinja"
    template.write_text(WITH_SYSTEM, encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="renders otherwise"):
        prefer.run(settings(place), {"model": place / "base", "adapter": copied}, tmp_path, machine, 17)


CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from korean_llm.machine import Machine
from tests.training.test_prefer import inputs, settings
from korean_llm.training import prefer
place, out = map(Path, sys.argv[1:])
prefer.run(settings(place), inputs(place), out, Machine("cpu", 1), 17)
"""


def test_killed_it_ends_bit_equal(place: Path, machine: Machine, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    prefer.run(settings(place), inputs(place), whole, machine, 17)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(place), str(broken)], env=environment, cwd=ROOT)
    log = broken / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text(encoding="utf-8").count('"loss"') >= 5):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was still at work"
    assert list((broken / "checkpoints").glob("checkpoint-*")) and not (broken / "adapter").exists()
    prefer.run(settings(place), inputs(place), broken, machine, 17)
    first, second = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)
    steps = [json.loads(line).get("step") for line in log.read_text(encoding="utf-8").splitlines()]
    assert [step for step in steps if step] == list(range(1, 11))


def test_a_judge_scores_each_conversation_as_if_it_were_alone(place: Path, machine: Machine, tmp_path: Path) -> None:
    out = tmp_path / "reward"
    out.mkdir()
    chosen = RewardSettings(data=[str(place / "pairs")], max_tokens=64, batch_examples=4, learning_rate=3e-3, lora=LORA)
    reward.run(chosen, inputs(place, adapter=False), out, machine, 17)
    config = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["task_type"] == "SEQ_CLS" and "score" in config["modules_to_save"]
    judge = Judge.open(place / "base" / "model", out / "adapter", machine)
    talks = [
        [{"role": "user", "content": "수 " * n}, {"role": "assistant", "content": "네 " * (9 - n)}] for n in range(1, 9)
    ]
    alone = [judge.score([talk])[0] for talk in talks]
    assert judge.score(talks) == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == len(alone)
    assert open_chat(load_tokenizer(out / "adapter")).sha256 == judge.chat.sha256
