"""The Llama architecture as llama.cpp lays it out: hyperparameters, tensor names, and the order of Q and K rows.

D hidden, H heads, E size of a head. llama.cpp's "llama" rotates neighbouring channels (2i, 2i + 1) of a head, where
transformers rotates the halves (i, i + E/2); the rows of Q and K are put in llama.cpp's order once, here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import GGUFWriter
from transformers import PretrainedConfig

from korean_llm.errors import KoreanLLMError
from korean_llm.export.checkpoint import Checkpoint

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
_TOP = {
    "model.embed_tokens.weight": EMBEDDING,
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": HEAD,
}
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER_NAME = re.compile(r"model\.layers\.(\d+)\.(.+)\.weight")


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file.

    Attributes:
        name: as llama.cpp calls it.
        source: its name in the checkpoint.
        shape: as in the checkpoint, rows first.
        role: the part of the name that says what it is: attn_v, ffn_down, token_embd, output …
        layer: number of its layer, −1 outside the layers.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    role: str
    layer: int


def check_architecture(config: PretrainedConfig) -> None:
    """Raises KoreanLLMError where the model is not one this converter writes correctly."""
    supported = f"GGUF is written for {' and '.join(ARCHITECTURES)} with plain RoPE"
    advice = "take the gguf formats out of export.formats, or convert export/model with llama.cpp's own converter."
    found = (config.architectures or ["?"])[0]
    if found not in ARCHITECTURES:
        raise KoreanLLMError(f"the model is a {found}, but {supported}; {advice}")
    rope = _rope(config)
    if rope.get("rope_type", "default") != "default":
        raise KoreanLLMError(f"the model scales its RoPE ({rope['rope_type']}), but {supported}; {advice}")


def tensors(checkpoint: Checkpoint) -> list[Tensor]:
    """Every tensor of the file, in the order of the layers; a tied model's head is its embedding and left out.

    Raises KoreanLLMError where the checkpoint holds a tensor that the format has no place for, or lacks one.
    """
    tied = bool(checkpoint.config.tie_word_embeddings)
    found = [_tensor(source, checkpoint) for source in checkpoint.names if not (tied and source == "lm_head.weight")]
    wanted = {name for name in _TOP.values() if not (tied and name == HEAD)}
    layers = range(checkpoint.config.num_hidden_layers)
    wanted |= {f"blk.{layer}.{role}.weight" for layer in layers for role in _LAYER.values()}
    if missing := sorted(wanted - {tensor.name for tensor in found}):
        raise KoreanLLMError(f"{checkpoint.folder} lacks {len(missing)} tensors, {missing[0]} first; export it again.")
    return sorted(found, key=lambda tensor: (tensor.layer, tensor.name))


def _tensor(source: str, checkpoint: Checkpoint) -> Tensor:
    shape = checkpoint.shape(source)
    if source in _TOP:
        name = _TOP[source]
        return Tensor(name, source, shape, name.removesuffix(".weight"), -1)
    match = _LAYER_NAME.fullmatch(source)
    if match is None or match[2] not in _LAYER:
        raise KoreanLLMError(
            f"the checkpoint holds the tensor {source!r}, which the Llama architecture of GGUF has no place for"
            " (biases and extra norms are not supported); take the gguf formats out of export.formats."
        )
    layer, role = int(match[1]), _LAYER[match[2]]
    return Tensor(f"blk.{layer}.{role}.weight", source, shape, role, layer)


def read(tensor: Tensor, checkpoint: Checkpoint) -> np.ndarray:
    """A tensor's values in float32, in llama.cpp's order."""
    values = checkpoint.read(tensor.source)
    if tensor.role == "attn_q":
        return interleave(values, checkpoint.config.num_attention_heads)
    if tensor.role == "attn_k":
        return interleave(values, _kv_heads(checkpoint.config))
    return values


def interleave(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Rows (H, 2, E/2) → (H, E/2, 2): channel i of a head's first half comes beside channel i of its second half."""
    rows, width = weight.shape
    halves = weight.reshape(num_heads, 2, rows // num_heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, width))


def add_hyperparameters(writer: GGUFWriter, config: PretrainedConfig) -> None:
    """Write what llama.cpp needs to know to build the model."""
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(_rope(config)["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _kv_heads(config: PretrainedConfig) -> int:
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def _rope(config: PretrainedConfig) -> dict[str, Any]:
    parameters: dict[str, Any] = config.rope_parameters
    return parameters
