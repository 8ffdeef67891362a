"""Write a checkpoint of the Llama architecture as one quantized GGUF file, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gguf import (
    GGML_QUANT_VERSION,
    GGUFWriter,
    quant_shape_to_byte_shape,
    size_label,
)

from korean_llm import console
from korean_llm.export import layout
from korean_llm.export.checkpoint import Checkpoint
from korean_llm.export.quantize import MIXES, Type, choose_type, ggml, quantize
from korean_llm.export.token_table import add_tokenizer, token_table
from korean_llm.modeling.load import load_tokenizer


def check_convertible(folder: Path, formats: Sequence[str]) -> None:
    """Raises KoreanLLMError where a format cannot be written of this checkpoint: before hours of other work."""
    checkpoint = Checkpoint(folder)
    layout.check_architecture(checkpoint.config)
    token_table(load_tokenizer(folder), checkpoint.config.vocab_size)
    for name in formats:
        for chosen in _types(layout.tensors(checkpoint), name, checkpoint):
            if chosen not in (Type.F32, Type.F16, Type.Q8_0):
                ggml()
                return


def write_gguf(folder: Path, target: Path, name: str, workers: int) -> dict[str, int]:
    """Write the checkpoint folder as a GGUF file and return how many tensors got which number format.

    Args:
        folder: checkpoint in safetensors with its tokenizer.
        name: "gguf-q8_0" or "gguf-q4_k_m".
        workers: threads that quantize.

    Raises KoreanLLMError where the model or its tokenizer has no equal in llama.cpp.
    """
    checkpoint, tokenizer = Checkpoint(folder), load_tokenizer(folder)
    layout.check_architecture(checkpoint.config)
    found = layout.tensors(checkpoint)
    types = _types(found, name, checkpoint)
    writer = GGUFWriter(target, "llama")
    _add_general(writer, found, name)
    layout.add_hyperparameters(writer, checkpoint.config)
    add_tokenizer(writer, token_table(tokenizer, checkpoint.config.vocab_size), tokenizer)
    for tensor, chosen in zip(found, types, strict=True):
        _announce(writer, tensor, chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    pairs = list(zip(found, types, strict=True))
    for tensor, chosen in console.progress(pairs, f"writing {target.name}"):
        writer.write_tensor_data(quantize(layout.read(tensor, checkpoint), chosen, workers))
    writer.close()
    return {chosen.name: types.count(chosen) for chosen in sorted(set(types))}


def _types(found: list[layout.Tensor], name: str, checkpoint: Checkpoint) -> list[Type]:
    mix, config = MIXES[name][0], checkpoint.config
    tied = bool(config.tie_word_embeddings)
    return [choose_type(tensor, mix, config.num_hidden_layers, tied) for tensor in found]


def _add_general(writer: GGUFWriter, found: list[layout.Tensor], name: str) -> None:
    parameters = sum(int(np.prod(tensor.shape)) for tensor in found)
    writer.add_type("model")
    writer.add_size_label(size_label(parameters, 0, 0, 0))
    writer.add_languages(["ko", "en"])
    writer.add_file_type(MIXES[name][1])
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _announce(writer: GGUFWriter, tensor: layout.Tensor, chosen: Type) -> None:
    """Tell the writer a tensor's shape, format and size; its values come later, one tensor at a time."""
    shape = quant_shape_to_byte_shape(tensor.shape, chosen)
    num_bytes = int(np.prod(shape))
    writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), num_bytes, raw_dtype=chosen)
