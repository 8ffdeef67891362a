"""Merging: merged equals adapted, whatever does not fit is refused before anything is written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GenerationConfig

from korean_llm.errors import KoreanLLMError
from korean_llm.export.merge import check_reopened, copy_model, divergence, write_merged
from korean_llm.modeling.load import load_tokenizer
from tests.export.tiny import logits_of, write_adapter, write_model
from tests.vocabulary.tiny import ENGLISH, korean_documents

TEXTS = [korean_documents()[0], ENGLISH[0]]


@pytest.mark.parametrize("tied", [True, False])
def test_merged_equals_adapted_and_differs_from_the_base(tmp_path: Path, tied: bool) -> None:
    base = write_model(tmp_path / "base", tied=tied)
    adapter = write_adapter(base, tmp_path / "adapter")
    merge = write_merged(base, adapter, tmp_path / "out", TEXTS)

    tokenizer = load_tokenizer(tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits_of(plain, tokenizer, TEXTS[0])
    adapted = logits_of(PeftModel.from_pretrained(plain, str(adapter)), tokenizer, TEXTS[0])
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(logits_of(merged, tokenizer, TEXTS[0]), adapted, rtol=1e-4, atol=1e-4)
    assert (adapted - before).abs().max() > 0.1
    assert merge.adapted_from_merged < 1e-6 < merge.adapted_from_base
    assert (merged.get_input_embeddings().weight is merged.get_output_embeddings().weight) == tied


def test_what_is_written_says_how_to_serve_it(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    GenerationConfig(eos_token_id=3).save_pretrained(base)
    adapter = write_adapter(base, tmp_path / "adapter")
    merge = write_merged(base, adapter, tmp_path / "out", TEXTS)
    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.chat_template == load_tokenizer(adapter).chat_template
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == [tokenizer.eos_token_id, 3]
    check_reopened(tmp_path / "out", merge)


def test_files_that_were_not_written_whole_are_found(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    merge = write_merged(base, write_adapter(base, tmp_path / "adapter"), tmp_path / "out", TEXTS)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"].zero_()
    save_file(weights, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(KoreanLLMError, match="opened again"):
        check_reopened(tmp_path / "out", merge)


def test_a_16_bit_base_stays_16_bit_and_is_rounded_once(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", dtype=torch.bfloat16)
    merge = write_merged(base, write_adapter(base, tmp_path / "adapter", size=0.02), tmp_path / "out", TEXTS)
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    assert merge.dtype == "bfloat16"
    assert 0 < merge.adapted_from_merged < 1e-3
    check_reopened(tmp_path / "out", merge)


def test_a_merge_that_loses_the_model_is_refused(tmp_path: Path) -> None:
    """An update thousands of times larger than the weights does not survive rounding to bfloat16."""
    base = write_model(tmp_path / "base", dtype=torch.bfloat16)
    adapter = write_adapter(base, tmp_path / "adapter", size=500.0)
    with pytest.raises(KoreanLLMError, match="not the adapted one"):
        write_merged(base, adapter, tmp_path / "out", TEXTS)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter", size=math.inf)
    with pytest.raises(KoreanLLMError, match="nan nats per token"):
        write_merged(base, adapter, tmp_path / "out", TEXTS)


def test_an_adapter_with_missing_weights_is_refused(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if "layers.2" not in name}, file)
    with pytest.raises(KoreanLLMError, match="does not fit the model"):
        write_merged(base, adapter, tmp_path / "out", TEXTS)


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", hidden=32)
    other = write_adapter(write_model(tmp_path / "wider"), tmp_path / "adapter")
    with pytest.raises(KoreanLLMError, match="does not fit the model"):
        write_merged(base, other, tmp_path / "out", TEXTS)
    foreign = write_adapter(write_model(tmp_path / "llama3", "llama3", hidden=32), tmp_path / "foreign")
    with pytest.raises(KoreanLLMError, match="another vocabulary"):
        write_merged(base, foreign, tmp_path / "out", TEXTS)


def test_a_template_that_changed_since_training_is_refused(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter")
    template = adapter / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8").replace("<|user|>", "<|begin|>"), encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="renders otherwise"):
        write_merged(base, adapter, tmp_path / "out", TEXTS)


def test_without_an_adapter_the_weights_are_copied_byte_for_byte(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    copy_model(base, tmp_path / "out")
    name = "model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()
    config = json.loads((tmp_path / "out" / "generation_config.json").read_text(encoding="utf-8"))
    assert config["eos_token_id"] == load_tokenizer(base).eos_token_id


def test_divergence_is_the_textbook_sum() -> None:
    torch.manual_seed(1)
    wanted, found = torch.randn(2, 5), torch.randn(2, 5)
    expected = 0.0
    for row, other in zip(wanted.tolist(), found.tolist(), strict=True):
        p = [math.exp(x) / sum(map(math.exp, row)) for x in row]
        q = [math.exp(x) / sum(map(math.exp, other)) for x in other]
        expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    assert divergence([wanted[:1], wanted[1:]], [found[:1], found[1:]]) == pytest.approx(expected)
    assert divergence([wanted], [wanted]) == 0.0
