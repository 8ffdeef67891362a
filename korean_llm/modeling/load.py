"""Open models and tokenizers from artifact folders: local files, safetensors, no remote code."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint folder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return tokenizer


def load_model(folder: Path, machine: Machine, *, quantized: bool = False) -> PreTrainedModel:
    """The model of a checkpoint folder, in the machine's number format and on its device.

    quantized=True holds linear layers in 4-bit NF4 with double quantization (Dettmers et al. 2023, arXiv
    2305.14314). Raises KoreanLLMError where that needs a GPU or bitsandbytes and there is none.
    """
    device = machine.torch_device()
    options: dict[str, object] = {
        "dtype": machine.dtype(),
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
    if quantized:
        if device.type != "cuda":
            raise KoreanLLMError("a 4-bit base (qlora, quantized_base) needs a GPU; this machine runs on the CPU.")
        options["device_map"] = {"": 0}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, **options)
    return model if quantized else model.to(device)  # type: ignore[arg-type]
