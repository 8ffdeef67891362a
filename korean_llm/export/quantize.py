"""Which tensor gets which number format, and the quantization itself by ggml's own kernels.

The mixes are llama.cpp's. Q8_0: every matrix in 8-bit blocks of 32. Q4_K_M: matrices in Q4_K (super-blocks of 256),
the head in Q6_K, and attn_v and ffn_down in Q6_K in the layers that matter most. Norms stay in float32.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType, quant_shape_to_byte_shape
from gguf.quants import quantize as quantize_in_numpy

from korean_llm.errors import KoreanLLMError
from korean_llm.export.layout import EMBEDDING, HEAD, Tensor

Type = GGMLQuantizationType
Mix = Callable[[Tensor, int, bool], Type]

# What llama.cpp takes where a row is no multiple of a super-block.
_SMALLER_BLOCK = {Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}
_IN_NUMPY = {Type.F32, Type.F16, Type.Q8_0}
_CHUNK_ROWS = 512


def q8_0(tensor: Tensor, num_layers: int, tied: bool) -> Type:
    """Every matrix in Q8_0."""
    return Type.Q8_0


def q4_k_m(tensor: Tensor, num_layers: int, tied: bool) -> Type:
    """Q4_K, and Q6_K where it pays most; a tied model's embedding is its head."""
    if tensor.name == HEAD or (tied and tensor.name == EMBEDDING):
        return Type.Q6_K
    if tensor.role in ("attn_v", "ffn_down") and gets_more_bits(tensor.layer, num_layers):
        return Type.Q6_K
    return Type.Q4_K


def gets_more_bits(layer: int, num_layers: int) -> bool:
    """llama.cpp's rule: the first and the last eighth of the layers, and every third one between."""
    eighth = num_layers // 8
    return layer < eighth or layer >= 7 * num_layers // 8 or (layer - eighth) % 3 == 2


MIXES: dict[str, tuple[Mix, LlamaFileType]] = {
    "gguf-q8_0": (q8_0, LlamaFileType.MOSTLY_Q8_0),
    "gguf-q4_k_m": (q4_k_m, LlamaFileType.MOSTLY_Q4_K_M),
}


def choose_type(tensor: Tensor, mix: Mix, num_layers: int, tied: bool) -> Type:
    """The number format of a tensor: the mix's, or the nearest one whose blocks fill its rows exactly."""
    if len(tensor.shape) == 1:
        return Type.F32
    chosen = mix(tensor, num_layers, tied)
    if tensor.shape[-1] % GGML_QUANT_SIZES[chosen][0]:
        chosen = _SMALLER_BLOCK.get(chosen, Type.F16)
    return Type.F16 if tensor.shape[-1] % GGML_QUANT_SIZES[chosen][0] else chosen


def quantize(values: np.ndarray, to: Type, workers: int) -> np.ndarray:
    """The tensor (…, columns) as blocks, uint8 (…, bytes of a row); float16 and float32 stay as they are.

    Raises KoreanLLMError where ggml's kernels are needed and cannot be loaded.
    """
    if to in _IN_NUMPY:
        found: np.ndarray = quantize_in_numpy(values, to)
        return found
    library, source = ggml(), np.ascontiguousarray(values, dtype=np.float32)
    target = np.empty(quant_shape_to_byte_shape(source.shape, to), dtype=np.uint8)

    def fill(start: int) -> None:
        rows = source[start : start + _CHUNK_ROWS]
        part = target[start : start + _CHUNK_ROWS]
        written = library.ggml_quantize_chunk(
            int(to), rows.ctypes.data, part.ctypes.data, 0, len(rows), rows.shape[1], None
        )
        if written != part.nbytes:
            raise KoreanLLMError(f"ggml wrote {written:,} bytes of {to.name}, expected {part.nbytes:,}; {_ADVICE}")

    with ThreadPoolExecutor(workers) as pool:  # ctypes lets go of the interpreter lock, so threads do run at once
        list(pool.map(fill, range(0, len(source), _CHUNK_ROWS)))
    return target


_ADVICE = "install it with `pip install -c constraints.txt xllamacpp`, or take gguf-q8_0, which does without."


@cache
def ggml() -> ctypes.CDLL:
    """The library that xllamacpp ships, for its quantizers.

    Raises KoreanLLMError where xllamacpp is not installed or its library exports no quantizer.
    """
    try:
        library = ctypes.CDLL(str(importlib.import_module("xllamacpp.xllamacpp").__file__))
        function = library.ggml_quantize_chunk
    except ImportError as error:
        raise KoreanLLMError(f"gguf-q4_k_m needs the package xllamacpp ({error}); {_ADVICE}") from None
    except (OSError, AttributeError) as error:
        raise KoreanLLMError(
            f"this build of xllamacpp gives no access to ggml's quantizers ({error}); {_ADVICE}"
        ) from None
    integer = ctypes.c_int64
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, integer, integer, integer, ctypes.c_void_p]
    function.restype = ctypes.c_size_t
    return library
