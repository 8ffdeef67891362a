"""Pretraining: frozen means frozen, killed anywhere resumes exactly, torn checkpoints are not trusted."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.trainable import prepare, select, tables
from korean_llm.recipe import LoraSettings, Phase, PretrainingSettings
from korean_llm.training.checkpoints import last_checkpoint
from korean_llm.training.phases import phase_steps
from korean_llm.training.pretrain import check_frozen, run
from tests.conftest import make_model
from tests.training.conftest import extended_folder
from tests.training.killing import child, logged_steps, wait_until


def settings(**changes) -> PretrainingSettings:
    phases = [
        Phase(train=["new_input_rows", "new_output_rows"], tokens=512, learning_rate=1e-2),
        Phase(train=["lora", "new_input_rows", "new_output_rows"], tokens=512, learning_rate=1e-2),
    ]
    values = {
        "block_tokens": 32,
        "batch_blocks": 2,
        "phases": phases,
        "weight_decay": 0.1,
        "checkpoint_every_steps": 3,
        "evaluate_every_steps": 4,
        "sample_prompts": ["오늘 아침"],
        "lora": LoraSettings(rank=4, alpha=8),
    }
    return PretrainingSettings(**{**values, **changes})


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_old_rows_stay_bit_equal_and_the_rest_learns(
    extended: Path, corpus_folder: Path, tmp_path: Path, machine
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    result = run(settings(), {"model": extended, "corpus": corpus_folder}, out, machine, 17)
    before, after = tensors(extended), tensors(out)
    assert before.keys() == after.keys()
    rows = [name for name in before if name in ("model.embed_tokens.weight", "lm_head.weight")]
    assert len(rows) == (
        1 if AutoModelForCausalLM.from_pretrained(extended / "model").config.tie_word_embeddings else 2
    )
    for name in rows:
        assert torch.equal(before[name][:-20], after[name][:-20]), name
        assert not torch.equal(before[name][-20:], after[name][-20:]), name
    assert not torch.equal(
        before["model.layers.0.self_attn.q_proj.weight"], after["model.layers.0.self_attn.q_proj.weight"]
    )
    assert result["metrics"]["after"]["ko_bits_per_byte"] < result["metrics"]["before"]["ko_bits_per_byte"]
    assert not (out / "checkpoints").exists()
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in steps if row["phase"].startswith("phase 1") and "loss" in row] == list(range(1, 9))


def test_all_leaves_old_rows_alone_too(extended: Path, corpus_folder: Path, tmp_path: Path, machine) -> None:
    out = tmp_path / "out"
    out.mkdir()
    phases = [Phase(train=["all"], tokens=256, learning_rate=1e-2)]
    run(settings(phases=phases), {"model": extended, "corpus": corpus_folder}, out, machine, 17)
    before, after = tensors(extended), tensors(out)
    assert torch.equal(before["model.embed_tokens.weight"][:-20], after["model.embed_tokens.weight"][:-20])
    assert not torch.equal(before["model.norm.weight"], after["model.norm.weight"])


def test_a_moved_row_is_refused() -> None:
    model = make_model(40)
    frozen = model.get_input_embeddings().weight.detach().clone()[:30]
    check_frozen(frozen, model, list(range(30, 40)))
    with torch.no_grad():
        model.get_input_embeddings().weight[3, 2] += 1e-6
    with pytest.raises(KoreanLLMError, match="moved by up to"):
        check_frozen(frozen, model, list(range(30, 40)))


def test_lora_at_its_start_is_the_base(tokenizer) -> None:
    model = make_model(len(tokenizer))
    ids = torch.arange(3, 23)[None]
    before = model(input_ids=ids, output_hidden_states=True)
    wrapped = prepare(model, ["lora"], [], LoraSettings(rank=4))
    assert torch.equal(wrapped(input_ids=ids).logits, before.logits)
    rows = prepare(make_model(len(tokenizer)), ["lora", "new_input_rows"], list(range(330, 340)), LoraSettings(rank=4))
    after = rows(input_ids=ids, output_hidden_states=True)
    assert all(torch.equal(*pair) for pair in zip(before.hidden_states, after.hidden_states, strict=True))


def test_optimizer_sees_new_rows_only(tokenizer) -> None:
    model = make_model(len(tokenizer), tied=False)
    table = tables(model)
    wrapped = prepare(model, ["new_input_rows", "new_output_rows"], list(range(330, 340)), LoraSettings())
    counts = select(wrapped, ["new_input_rows"], table)
    assert counts == {"new_input_rows": 10 * 32}
    counts = select(wrapped, ["new_input_rows", "new_output_rows"], table)
    assert sum(counts.values()) == 2 * 10 * 32
    assert sum(p.numel() for p in wrapped.parameters() if p.requires_grad) == 2 * 10 * 32


def test_a_group_that_is_not_there_is_an_error(tokenizer) -> None:
    model = make_model(len(tokenizer))
    with pytest.raises(KoreanLLMError, match="no new tokens"):
        prepare(model, ["new_input_rows"], [], LoraSettings())
    with pytest.raises(KoreanLLMError, match="'lora'"):
        select(model, ["lora"], tables(model))


def test_steps_follow_from_tokens() -> None:
    assert phase_steps(Phase(train=["all"], tokens=640, learning_rate=1e-3), settings()) == 10
    assert phase_steps(Phase(train=["all"], tokens=1, learning_rate=1e-3), settings()) == 1


def test_only_named_checkpoints_count(tmp_path: Path) -> None:
    for name in ("checkpoint-3", "checkpoint-12", "writing/checkpoint-15", "checkpoint-x"):
        (tmp_path / name).mkdir(parents=True)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-12"


def test_killed_anywhere_it_ends_bit_equal(corpus_folder: Path, tmp_path: Path, whole_run) -> None:
    base, broken = extended_folder(tmp_path / "vocabulary", tied=True), tmp_path / "broken"
    writing = broken / "checkpoints" / "phase-1" / "writing" / "checkpoint-3"
    moments = (
        lambda: logged_steps(broken) >= 2,  # before the first checkpoint
        lambda: (writing / "optimizer.pt").exists(),  # while it is written
        lambda: logged_steps(broken) >= 5,  # after it
        lambda: logged_steps(broken) >= 11,  # in the second phase
    )
    for moment in moments:
        process = child(base, corpus_folder, broken, slow=0.05)
        wait_until(process, moment)
        os.kill(process.pid, signal.SIGKILL)
        process.ended()
        if moment is moments[1]:
            assert writing.exists() and last_checkpoint(broken / "checkpoints" / "phase-1") is None
    assert child(base, corpus_folder, broken).ended() == 0
    found = tensors(broken)
    assert all(torch.equal(whole_run[name], found[name]) for name in whole_run)
