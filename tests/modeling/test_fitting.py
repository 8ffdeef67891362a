"""What does not fit is refused with changes that do make it fit, and not with more than it takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from korean_llm.cli import main
from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.fitting import instruction_advice, pretraining_advice
from korean_llm.modeling.memory import instruction_memory, pretraining_memory
from korean_llm.modeling.shape import KNOWN
from korean_llm.preflight import check_recipe, refuse_what_does_not_fit
from korean_llm.recipe import InstructionSettings, PretrainingSettings

OLMO = KNOWN["allenai/OLMo-2-1124-7B"]
RECIPE = Path(__file__).parents[2] / "recipes" / "olmo2-7b.yaml"
NEW = 8_000


def settings(groups: list[str], **more: Any) -> PretrainingSettings:
    phase = {"train": groups, "tokens": 1_000, "learning_rate": 1e-3}
    return PretrainingSettings.model_validate({"phases": [phase], **more})


def advice(plan: PretrainingSettings, gpu: float, gpus: int = 1) -> str:
    found = pretraining_advice(OLMO, NEW, plan, gpu, gpus)
    assert found is not None
    return found


def fits(plan: PretrainingSettings, gpu: float, gpus: int = 1) -> bool:
    return pretraining_memory(OLMO, NEW, plan, gpu, gpus).total <= gpu


def test_what_fits_needs_no_advice() -> None:
    assert pretraining_advice(OLMO, NEW, settings(["lora"]), 80, 1) is None
    assert instruction_advice(OLMO, NEW, InstructionSettings(data=["x"]), 80) is None


def test_a_single_change_is_named_where_one_is_enough() -> None:
    plan = settings(["lora", "new_input_rows", "new_output_rows"])
    said = advice(plan, 14)
    need = pretraining_memory(OLMO, NEW, plan, 14)
    assert said.startswith(
        f"pretraining needs {need.total:.1f} GiB, {need.weights:.1f} of them weights: set pretraining."
    )
    assert "set pretraining.quantized_base to true, or share it among GPUs with --gpus 2" in said
    assert fits(plan.model_copy(update={"quantized_base": True}), 14) and fits(plan, 14, 2)
    assert not fits(plan.model_copy(update={"optimizer": "adamw_8bit"}), 14), "the cheaper change was not enough"


def test_changes_add_up_where_one_is_not_enough() -> None:
    plan = settings(["all", "input_rows", "output_rows"])
    said = advice(plan, 12)
    changes = [
        "optimizer to adamw_8bit",
        "block_tokens to 512",
        "phases to train lora, new_input_rows, new_output_rows",
    ]
    assert f"set pretraining.{' and pretraining.'.join(changes)} only and pretraining.quantized_base to true" in said
    changed = settings(
        ["lora", "new_input_rows", "new_output_rows"],
        optimizer="adamw_8bit",
        block_tokens=512,
        batch_blocks=8 * plan.batch_blocks,
        quantized_base=True,
    )
    assert fits(changed, 12)
    assert "or share" not in said, "eight GPUs do not help"
    assert not fits(plan, 12, 8)


def test_nothing_helps() -> None:
    assert advice(settings(["lora"]), 3).endswith("take a larger card or a smaller base")


def test_more_gpus_than_asked_for() -> None:
    plan = settings(["all"])
    assert not fits(plan, 80) and not fits(plan, 40, 2)
    assert "--gpus 2" in advice(plan, 80)
    assert not fits(plan, 40, 4) and fits(plan, 40, 8)
    assert advice(plan, 40, 2).endswith("with --gpus 8")


def test_instruction_tuning() -> None:
    plan = InstructionSettings(data=["x"])
    said = instruction_advice(OLMO, NEW, plan, 16)
    assert said is not None and said.endswith("set instruction.method to qlora")
    assert instruction_memory(OLMO, NEW, plan.model_copy(update={"method": "qlora"}), 16).total <= 16
    nothing = instruction_advice(OLMO, NEW, plan, 4)
    assert nothing is not None and nothing.endswith("take a larger card or a smaller base")


def test_check_prints_the_parts_and_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["korean-llm", "check", str(RECIPE), *options])
        with pytest.raises(SystemExit) as end:
            main()
        return (int(end.value.code or 0), *capsys.readouterr())

    status, out, errors = check("--gpu-memory", "16")
    assert status == 2
    assert "pretraining: does NOT fit into 16 GiB" in out and "activations" in out
    assert errors.startswith("korean-llm: olmo2-7b-korean does not fit a GPU of 16 GiB: pretraining needs ")
    assert "; instruction needs " in errors and len(errors.splitlines()) == 1 and errors.endswith("qlora.\n")
    status, out, errors = check("--gpu-memory", "16", "--json")
    assert status == 2 and len(json.loads(out)["does_not_fit"]) == 2
    status, out, _ = check("--gpu-memory", "24", "--gpus", "4")
    assert status == 0
    assert "estimated memory on each of 4 GPUs of 24 GiB" in out and "gathered" in out


def test_a_report_that_fits_is_not_refused() -> None:
    report = check_recipe(RECIPE, 80)
    assert report["does_not_fit"] == []
    refuse_what_does_not_fit(report)
    with pytest.raises(KoreanLLMError, match="does not fit 2 GPUs of 8 GiB"):
        refuse_what_does_not_fit(check_recipe(RECIPE, 8, 2))
