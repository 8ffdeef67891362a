"""The report of a whole small run: every figure is what an independent computation gives, and names its source."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from korean_llm.artifact import load_manifest
from korean_llm.corpus.documents import holdout_texts
from korean_llm.errors import KoreanLLMError
from korean_llm.evaluation.measurements import MAX_NEW_TOKENS
from korean_llm.evaluation.stage import run
from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.recipe import EvaluationSettings
from tests.evaluation.conftest import HOSTILE, SmallRun

STAGE_OF = {"base": "base", "extended": "vocabulary", "adapted": "pretraining", "tuned": "export"}


def evaluate(small_run: SmallRun, roles: list[str], out: Path, machine: Machine, settings: EvaluationSettings) -> dict:
    """Run the stage on some of the run's artifacts; returns the report."""
    out.mkdir()
    run(settings, {role: small_run.inputs[role] for role in roles}, out, machine, 17)
    report: dict = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def test_every_model_is_measured_on_the_same_text(small_run: SmallRun) -> None:
    report = small_run.report
    texts = holdout_texts(small_run.inputs["corpus"], small_run.settings.holdout_bytes)
    assert list(texts) == ["en", "ko"]
    assert [model["role"] for model in report["models"]] == list(STAGE_OF)
    before: dict[str, float] = {}
    for model in report["models"]:
        folder = small_run.folder / STAGE_OF[model["role"]] / "model"
        loaded, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        for language, part in texts.items():
            bits = bits_per_byte(loaded, tokenizer, part).per_byte
            assert model["bits_per_byte"][language] == pytest.approx(bits, abs=1e-4)
            first = before.setdefault(language, bits)
            assert model["change_from_base"][language] == pytest.approx(bits / first - 1, abs=2e-4)
            num_tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in part)
            num_bytes = sum(len(text.encode()) for text in part)
            assert model["bytes_per_token"][language] == pytest.approx(num_bytes / num_tokens, abs=1e-4)
            assert report["holdout"]["languages"][language] == {"texts": len(part), "bytes": num_bytes}
        words = sum(len(text.split()) for text in texts["ko"])
        num_tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts["ko"])
        assert model["tokens_per_eojeol"] == pytest.approx(num_tokens / words, abs=1e-4)
        assert model["scored_tokens_per_s"] > 0


def test_texts_that_got_better_are_counted(small_run: SmallRun) -> None:
    texts = holdout_texts(small_run.inputs["corpus"], small_run.settings.holdout_bytes)
    bits = {}
    for role in ("base", "adapted"):
        folder = small_run.folder / STAGE_OF[role] / "model"
        loaded, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        bits[role] = {name: [bits_per_byte(loaded, tokenizer, [t]).bits for t in part] for name, part in texts.items()}
    adapted = next(model for model in small_run.report["models"] if model["role"] == "adapted")
    for language, found in adapted["texts_better_than_base"].items():
        pairs = zip(bits["adapted"][language], bits["base"][language], strict=True)
        assert found == sum(after < before for after, before in pairs)


@torch.inference_mode()
def greedy(folder: Path, prompt: str) -> tuple[str, bool]:
    """The slow way: one whole forward pass per token, the likeliest token each time."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    new: list[int] = []
    while len(new) < MAX_NEW_TOKENS and (not new or new[-1] != tokenizer.eos_token_id):
        new.append(int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
    return tokenizer.decode(new, skip_special_tokens=True).rstrip("\ufffd").strip(), new[-1] == tokenizer.eos_token_id


def test_generations_are_the_greedy_answers(small_run: SmallRun) -> None:
    report = small_run.report
    assert [item["prompt"] for item in report["generations"]] == small_run.settings.sample_prompts
    for item in report["generations"]:
        assert [answer["role"] for answer in item["answers"]] == ["base", "adapted", "tuned"]
        for answer in item["answers"]:
            wanted = greedy(small_run.folder / STAGE_OF[answer["role"]] / "model", item["prompt"])
            assert (answer["text"], answer["finished"]) == wanted


def test_every_section_names_stage_and_fingerprint(small_run: SmallRun) -> None:
    report = small_run.report
    prints = {}
    for role, folder in small_run.inputs.items():
        manifest = load_manifest(folder)
        assert manifest is not None
        prints[role] = manifest.fingerprint
    assert {row["stage"]: row["fingerprint"] for row in report["artifacts"]} == prints
    assert report["holdout"]["source"] == {"stage": "corpus", "fingerprint": prints["corpus"]}
    for model in report["models"]:
        stage = STAGE_OF[model["role"]]
        assert model["source"] == {"stage": stage, "fingerprint": prints[stage]}
    for name in ("vocabulary", "pretraining", "instruction", "export", "retrieval"):
        assert report[name]["source"] == {"stage": name, "fingerprint": prints[name]}
    by_stage = {row["stage"]: row for row in report["artifacts"]}
    assert by_stage["vocabulary"]["inputs"] == {"base": prints["base"], "corpus": prints["corpus"]}
    for row in report["artifacts"]:
        assert (small_run.folder / "evaluation" / row["manifest"]).resolve().is_file()
    assert report["name"] == "small"


def test_what_stages_wrote_is_shown_as_they_wrote_it(small_run: SmallRun) -> None:
    report, folder = small_run.report, small_run.folder
    fertility = json.loads((folder / "vocabulary/fertility.json").read_text(encoding="utf-8"))
    assert report["vocabulary"]["total"] == fertility["total"]
    assert report["vocabulary"]["sources"] == fertility["sources"]
    assert report["vocabulary"]["new_tokens"] == 100
    parity = json.loads((folder / "export/parity.json").read_text(encoding="utf-8"))
    assert {file["name"]: file["bits_per_byte"] for file in report["export"]["files"]} == parity["bits_per_byte"]
    quantized = next(file for file in report["export"]["files"] if file["name"].endswith(".gguf"))
    assert quantized["bytes"] == (folder / "export" / quantized["name"]).stat().st_size
    retrieval = load_manifest(folder / "retrieval")
    assert retrieval is not None
    assert report["retrieval"]["arms"] == retrieval.metrics
    questions = json.loads((folder / "retrieval/questions.json").read_text(encoding="utf-8"))
    ranks = {row["question"]: row["ranks"]["hybrid"] for row in questions}
    for miss in report["retrieval"]["missed"]:
        assert miss["rank"] == ranks[miss["question"]]
        assert miss["rank"] is None or miss["rank"] > 5
    assert len(report["retrieval"]["missed"]) == sum((rank or math.inf) > 5 for rank in ranks.values())


def test_curves_run_on_over_the_phases(small_run: SmallRun) -> None:
    pretraining = small_run.report["pretraining"]
    lines = (small_run.folder / "pretraining/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    losses = [round(row["loss"], 4) for row in rows if "loss" in row]
    assert [point["loss"] for point in pretraining["loss"]] == losses
    assert [point["step"] for point in pretraining["loss"]] == list(range(1, 12))
    assert [phase["first_step"] for phase in pretraining["phases"]] == [1, 4]
    korean = pretraining["bits_per_byte"]["ko"]
    assert [point["step"] for point in korean] == [0, 6, 9, 11]
    manifest = load_manifest(small_run.folder / "pretraining")
    assert manifest is not None
    assert korean[0]["bits_per_byte"] == manifest.metrics["before"]["ko_bits_per_byte"]
    assert korean[-1]["bits_per_byte"] == manifest.metrics["after"]["ko_bits_per_byte"]
    assert (
        small_run.report["instruction"]["holdout_loss_after"] < small_run.report["instruction"]["holdout_loss_before"]
    )


def test_sentences_are_cut_as_the_tokenizers_cut_them(small_run: SmallRun) -> None:
    for entry, sentence in zip(small_run.report["sentences"], [HOSTILE, "The library opens at nine."], strict=True):
        for role in ("base", "extended"):
            tokenizer = AutoTokenizer.from_pretrained(small_run.folder / STAGE_OF[role] / "model")
            num_tokens = len(tokenizer(sentence, add_special_tokens=False)["input_ids"])
            assert entry[role]["tokens"] == num_tokens == sum(piece["tokens"] for piece in entry[role]["pieces"])
            assert "".join(piece["text"] for piece in entry[role]["pieces"]) == sentence
    assert small_run.report["sentences"][0]["extended"]["tokens"] < small_run.report["sentences"][0]["base"]["tokens"]


def test_without_an_export_the_adapter_is_measured_on_its_model(
    small_run: SmallRun, tmp_path: Path, machine: Machine
) -> None:
    settings = EvaluationSettings(holdout_bytes=1_500)
    roles = ["base", "corpus", "vocabulary", "pretraining", "instruction"]
    report = evaluate(small_run, roles, tmp_path / "out", machine, settings)
    tuned = report["models"][-1]
    assert (tuned["role"], tuned["source"]["stage"]) == ("tuned", "instruction")
    model = AutoModelForCausalLM.from_pretrained(small_run.inputs["pretraining"] / "model")
    tokenizer = AutoTokenizer.from_pretrained(small_run.inputs["pretraining"] / "model")
    texts = holdout_texts(small_run.inputs["corpus"], 1_500)["ko"]
    plain = bits_per_byte(model, tokenizer, texts).per_byte
    adapted = PeftModel.from_pretrained(model, small_run.inputs["instruction"] / "adapter")
    assert tuned["bits_per_byte"]["ko"] == pytest.approx(bits_per_byte(adapted, tokenizer, texts).per_byte, abs=1e-4)
    assert abs(tuned["bits_per_byte"]["ko"] - plain) > 1e-3


@pytest.mark.parametrize(
    ("roles", "models", "absent"),
    [
        (["base"], ["base"], ["models", "vocabulary", "training", "generations", "export", "retrieval"]),
        (["base", "corpus"], ["base"], ["vocabulary", "training", "generations", "export", "retrieval"]),
        (["base", "corpus", "vocabulary"], ["base", "extended"], ["training", "export", "retrieval"]),
        (["base", "retrieval"], ["base"], ["models", "vocabulary", "training", "export"]),
        (["base", "corpus", "pretraining"], ["base", "adapted"], ["vocabulary", "export", "retrieval"]),
    ],
)
def test_sections_without_a_stage_do_not_appear(
    small_run: SmallRun, tmp_path: Path, machine: Machine, roles: list[str], models: list[str], absent: list[str]
) -> None:
    settings = EvaluationSettings(holdout_bytes=1_500, sample_sentences=["새로 배운 말"])
    report = evaluate(small_run, roles, tmp_path / "out", machine, settings)
    assert [model["role"] for model in report["models"]] == models
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    everything = {"models", "vocabulary", "training", "generations", "export", "retrieval"}
    shown = {name for name in everything if f'id="{name}"' in page}
    assert shown.isdisjoint(absent)
    assert {name for name in everything if f'href="#{name}"' in page} == shown
    assert ("models" in shown) == ("corpus" in roles)
    assert {row["stage"] for row in report["artifacts"]} == set(roles)


def test_an_incomplete_artifact_is_named(small_run: SmallRun, tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "pretraining").mkdir()
    inputs = {"base": small_run.inputs["base"], "pretraining": tmp_path / "pretraining"}
    with pytest.raises(KoreanLLMError, match=r"pretraining has no manifest\.json.*--from pretraining"):
        run(EvaluationSettings(), inputs, tmp_path, machine, 17)
