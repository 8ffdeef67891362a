"""GGUF files: every tensor comes back, transformers and llama.cpp compute what the checkpoint computes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from korean_llm.errors import KoreanLLMError
from korean_llm.export import llama_cpp
from korean_llm.export.checkpoint import Checkpoint
from korean_llm.export.gguf import check_convertible, write_gguf
from korean_llm.export.layout import interleave, read, tensors
from korean_llm.export.llama_cpp import LlamaCpp
from korean_llm.export.quantize import Type, gets_more_bits, quantize
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from tests.export.tiny import logits_of, write_model
from tests.vocabulary.tiny import ENGLISH, base_tokenizer, korean_documents

CPU = Machine("cpu", workers=1)
# Largest error of a block, as a share of the block's largest value: half a step of 8, 6, 5 and 4 bits, and K-quants'
# own rounding of the scales.
ERROR = {Type.F32: 0.0, Type.Q8_0: 0.005, Type.Q6_K: 0.05, Type.Q5_0: 0.07, Type.Q4_K: 0.15}


def reload(file: Path) -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )


@pytest.mark.parametrize(
    ("hidden", "tied", "name"), itertools.product((64, 256), (True, False), ("gguf-q8_0", "gguf-q4_k_m"))
)
def test_every_tensor_comes_back(tmp_path: Path, hidden: int, tied: bool, name: str) -> None:
    folder = write_model(tmp_path / "model", hidden=hidden, tied=tied)
    types = write_gguf(folder, tmp_path / "m.gguf", name, workers=2)
    checkpoint = Checkpoint(folder)
    found = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    wanted = tensors(checkpoint)
    assert found.keys() == {tensor.name for tensor in wanted}
    assert ("output.weight" in found) != tied
    assert sum(types.values()) == len(wanted)
    for tensor in wanted:
        values, stored = read(tensor, checkpoint), found[tensor.name]
        back = dequantize(stored.data, stored.tensor_type).reshape(values.shape)
        limit = ERROR[Type(stored.tensor_type)] * np.abs(values).max()
        assert np.abs(back - values).max() <= limit, tensor.name


def test_formats_follow_the_mix_and_the_row_length(tmp_path: Path) -> None:
    """Rows of 256 and 512 take K-quants; rows of 64 and 128 take what llama.cpp falls back to."""
    wide = write_model(tmp_path / "wide", hidden=256, tied=False)
    assert set(write_gguf(wide, tmp_path / "wide.gguf", "gguf-q4_k_m", 1)) == {"F32", "Q4_K", "Q6_K"}
    kinds = {tensor.name: tensor.tensor_type for tensor in GGUFReader(tmp_path / "wide.gguf").tensors}
    assert kinds["output.weight"] == Type.Q6_K
    assert kinds["token_embd.weight"] == kinds["blk.3.attn_k.weight"] == Type.Q4_K
    # Four layers: an eighth is none, so layers 2 (every third) and 3 (the last eighth) get more bits.
    assert [kinds[f"blk.{layer}.attn_v.weight"] == Type.Q6_K for layer in range(4)] == [False, False, True, True]
    assert [kinds[f"blk.{layer}.ffn_down.weight"] == Type.Q6_K for layer in range(4)] == [False, False, True, True]
    narrow = write_model(tmp_path / "narrow", hidden=64)
    assert set(write_gguf(narrow, tmp_path / "narrow.gguf", "gguf-q4_k_m", 1)) == {"F32", "Q5_0", "Q8_0"}
    odd = write_model(tmp_path / "odd", hidden=48)
    assert set(write_gguf(odd, tmp_path / "odd.gguf", "gguf-q8_0", 1)) == {"F32", "F16", "Q8_0"}


def test_more_bits_at_both_ends_and_for_every_third_layer_between() -> None:
    chosen = [layer for layer in range(32) if gets_more_bits(layer, 32)]
    assert chosen == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["smollm", "llama2"])
def test_transformers_computes_the_same_from_the_file(tmp_path: Path, kind: str, tied: bool) -> None:
    folder = write_model(tmp_path / "model", kind, tied=tied)
    write_gguf(folder, tmp_path / "m.gguf", "gguf-q8_0", 1)
    tokenizer, model = load_tokenizer(folder), AutoModelForCausalLM.from_pretrained(folder)
    back = reload(tmp_path / "m.gguf")
    wanted, found = (logits_of(m, tokenizer, korean_documents()[0]) for m in (model, back))
    assert torch.nn.functional.cosine_similarity(wanted, found).mean() > 0.995
    own, read_back = model.config, back.config
    for key in ("hidden_size", "num_key_value_heads", "head_dim", "max_position_embeddings", "vocab_size"):
        assert getattr(read_back, key) == getattr(own, key), key
    assert read_back.rope_parameters["rope_theta"] == own.rope_parameters["rope_theta"]
    assert read_back.rms_norm_eps == pytest.approx(own.rms_norm_eps)
    assert read_back.tie_word_embeddings == tied


def test_llama_cpp_computes_the_same_from_the_file(tmp_path: Path) -> None:
    """llama.cpp's own rotation, on the reordered rows, gives the probabilities that transformers gives."""
    folder = write_model(tmp_path / "model", hidden=256, tied=False)
    write_gguf(folder, tmp_path / "m.gguf", "gguf-q8_0", 1)
    tokenizer = load_tokenizer(folder)
    logits_TV = logits_of(reload(tmp_path / "m.gguf"), tokenizer, korean_documents()[0])
    wanted = torch.log_softmax(logits_TV[-1], dim=-1)
    ids = tokenizer(korean_documents()[0], add_special_tokens=False)["input_ids"][:48]
    model = LlamaCpp(llama_cpp.bindings(), tmp_path / "m.gguf", CPU)
    answer = model._server.handle_completions({"prompt": ids, "n_predict": 1, "temperature": 0, "logprobs": 8})
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert len(top) == 8
    for entry in top:
        assert entry["logprob"] == pytest.approx(wanted[entry["id"]].item(), abs=0.5)
    assert top[0]["id"] == wanted.argmax().item()


def test_interleaving_pairs_the_halves_of_every_head() -> None:
    rows = np.arange(12)[:, None].repeat(5, axis=1)
    assert interleave(rows, 2)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


@pytest.mark.parametrize("to", [Type.Q4_K, Type.Q6_K, Type.Q5_0])
def test_threads_do_not_change_a_byte(to: Type) -> None:
    values = np.random.default_rng(0).normal(size=(1300, 256)).astype(np.float32)
    assert np.array_equal(quantize(values, to, workers=1), quantize(values, to, workers=4))


def test_ggml_and_numpy_agree_where_both_can(tmp_path: Path) -> None:
    from gguf.quants import quantize as in_numpy

    values = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    assert np.array_equal(quantize(values, Type.Q5_0, workers=1), in_numpy(values, Type.Q5_0))


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    folder, tokenizer = tmp_path / "qwen", base_tokenizer("qwen")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=len(tokenizer), num_hidden_layers=1, **shape)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.raises(KoreanLLMError, match="Qwen2ForCausalLM, but GGUF is written for LlamaForCausalLM and Mistral"):
        check_convertible(folder, ["gguf-q8_0"])


def test_scaled_rope_and_biases_are_refused(tmp_path: Path) -> None:
    tokenizer = base_tokenizer("smollm")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    for name, extra, message in (
        ("scaled", {"rope_parameters": scaled}, r"scales its RoPE \(linear\)"),
        ("biased", {"attention_bias": True}, "q_proj.bias|k_proj.bias|o_proj.bias|v_proj.bias"),
    ):
        config = LlamaConfig(vocab_size=len(tokenizer), **shape, **extra)
        LlamaForCausalLM(config).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        assert AutoConfig.from_pretrained(tmp_path / name).architectures == ["LlamaForCausalLM"]
        with pytest.raises(KoreanLLMError, match=message):
            check_convertible(tmp_path / name, ["gguf-q8_0"])


def test_mistral_is_written_as_llama(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = base_tokenizer("llama3")
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(2)
    config = MistralConfig(vocab_size=len(tokenizer), num_hidden_layers=2, initializer_range=0.2, **shape)
    model = MistralForCausalLM(config)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "gguf-q8_0", 1)
    wanted, found = (logits_of(m, tokenizer, ENGLISH[0]) for m in (model, reload(tmp_path / "m.gguf")))
    assert torch.nn.functional.cosine_similarity(wanted, found).mean() > 0.995
