"""The retention contract: slower where text is forgotten, no further than allowed, and the way back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import MergeBack, Phase, Retention, Slowing
from korean_llm.training.pretrain import run
from korean_llm.training.retention import mixed, rises
from tests.conftest import write_corpus
from tests.training.conftest import extended_folder
from tests.training.test_pretrain import settings, tensors


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus whose training part is Korean only: English is measured, and forgotten."""
    folder = write_corpus(tmp_path_factory.mktemp("korean"))
    (folder / "shares.json").write_text('{"prose-ko": 1.0}', encoding="utf-8")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return extended_folder(tmp_path / "vocabulary", tied=False)


def pretrained(base: Path, corpus: Path, out: Path, machine, **changes) -> dict:
    out.mkdir()
    phases = [Phase(train=["all", "output_rows"], tokens=64 * 12, learning_rate=2e-2, schedule="constant")] * 2
    chosen = settings(phases=phases, evaluate_every_steps=2, **{"sample_prompts": [], **changes})
    return run(chosen, {"model": base, "corpus": corpus}, out, machine, 17)


def figures(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "en_bits_per_byte" in row]


def test_training_ends_where_too_much_is_forgotten(base: Path, korean: Path, tmp_path: Path, machine) -> None:
    free = pretrained(base, korean, tmp_path / "free", machine)
    assert free["metrics"]["after"]["en_bits_per_byte"] > 1.05 * free["metrics"]["before"]["en_bits_per_byte"]
    held = pretrained(base, korean, tmp_path / "held", machine, stop_if=Retention(english_bits_per_byte_rises=0.02))
    before, after = (held["metrics"][name]["en_bits_per_byte"] for name in ("before", "after"))
    assert after <= 1.02 * before
    assert len(held["metrics"]["phases"]) == 1 and held["metrics"]["phases"][0]["stopped"]["rises"]["en"] > 0.02
    last = [row for row in figures(tmp_path / "held") if row["phase"].startswith("phase")][-1]
    assert held["counts"]["steps"] == last["step"] and held["counts"]["tokens"] == 64 * last["step"]
    assert last["step"] == held["metrics"]["phases"][0]["stopped"]["step"]


def test_training_slows_where_text_is_forgotten(base: Path, korean: Path, tmp_path: Path, machine) -> None:
    slow = Slowing(english_bits_per_byte_rises=0.02, times=0.25)
    pretrained(base, korean, tmp_path / "slow", machine, slow_if=slow)
    rows = [json.loads(line) for line in (tmp_path / "slow" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    before = rows[0]["en_bits_per_byte"]
    rate = 2e-2
    first = [row for row in rows if row["phase"].startswith("phase 1")]
    risen = {row["step"] for row in first if row.get("en_bits_per_byte", 0) > 1.02 * before}
    for row in (row for row in first if "loss" in row):
        assert math.isclose(row["learning_rate"], rate, rel_tol=1e-9), row["step"]
        rate *= 0.25 if row["step"] in risen else 1
    assert rate < 2e-2


def test_a_language_that_is_not_held_out_cannot_be_watched(base: Path, tmp_path: Path, machine) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "holdout.jsonl.gz").write_bytes((write_corpus(tmp_path / "other") / "train.jsonl.gz").read_bytes()[:0])
    with pytest.raises(KoreanLLMError, match=r"pretraining\.stop_if watches bits per byte of 'en', but no such text"):
        pretrained(base, corpus, tmp_path / "out", machine, stop_if=Retention(english_bits_per_byte_rises=0.02))


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_merging_back_is_scored_on_both_sides(base: Path, korean: Path, tmp_path: Path, machine, method) -> None:
    plain = pretrained(base, korean, tmp_path / "plain", machine)
    half = MergeBack(method=method, base_share=0.5)
    merged = pretrained(base, korean, tmp_path / "merged", machine, merge_back=half)
    assert merged["metrics"]["before_merge_back"] == plain["metrics"]["after"]
    english = [merged["metrics"][name]["en_bits_per_byte"] for name in ("before", "after", "before_merge_back")]
    assert english[0] < english[1] < english[2]
    was, trained, now = (
        load_file(base / "model" / "model.safetensors"),
        tensors(tmp_path / "plain"),
        tensors(tmp_path / "merged"),
    )
    for name, value in now.items():
        rows = slice(None, -20) if name in ("model.embed_tokens.weight", "lm_head.weight") else slice(None)
        if rows != slice(None):
            assert torch.equal(value[-20:], trained[name][-20:])  # the base never knew them
        expected = mixed(trained[name][rows], was[name][rows], half)
        assert torch.equal(value[rows], was[name][rows]) or torch.equal(value[rows], expected), name


def test_slerp_keeps_to_the_arc() -> None:
    one, other = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    middle = mixed(one, other, MergeBack(method="slerp", base_share=0.5))
    assert torch.allclose(middle, torch.full((2,), 3 / math.sqrt(2)))
    assert torch.allclose(mixed(one, other, MergeBack(method="linear", base_share=0.5)), torch.full((2,), 1.5))
    assert torch.allclose(mixed(one, one, MergeBack(method="slerp")), one)


def test_rises() -> None:
    before, now = (
        {"en_bits_per_byte": 1.0, "ko_bits_per_byte": 2.0},
        {"en_bits_per_byte": 1.02, "ko_bits_per_byte": 1.0},
    )
    assert rises({"en": 0.01, "ko": 0.01}, before, now) == {"en": 0.02}
    assert rises({"en": 0.03}, before, now) == {}
