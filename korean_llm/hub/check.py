"""Whether an adapter belongs on a base, told from settings, tokenizers and the headers of the weights alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from korean_llm.artifact import load_manifest
from korean_llm.chat import Chat, open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.hub.fetch import check_files
from korean_llm.hub.identity import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_base, read_json, shown, weights_print
from korean_llm.modeling.load import load_tokenizer

Shapes = dict[str, tuple[int, ...]]

_TABLES = ("embed_tokens.weight", "lm_head.weight", "wte.weight", "embed_in.weight", "embed_out.weight")
_OURS = "tune it again on this model, or give the base it was trained on"


def checked_chat(adapter: Path, base: Path) -> Chat:
    """Check everything that needs no weights of the base; the chat the adapter was trained with.

    Raises KoreanLLMError at the first mismatch, with both sides and what to do.
    """
    check_files(adapter)
    found = _shapes(adapter / ADAPTER_WEIGHTS)
    _check_kind(adapter, found)
    config = _config(base)
    _check_vocabulary(adapter, base, config)
    chat = _chat(adapter, base)
    _check_shapes(adapter, base, config, found)
    return chat


def check_weights(adapter: Path, base: Path) -> None:
    """Raises KoreanLLMError where a base of the right shape is pickled, or not the one the adapter was trained on.

    Known by the recorded print of the weights, and within a run by its manifests; where neither is, not at all.
    """
    if not any(base.glob("*.safetensors")):
        raise KoreanLLMError(
            f"the base {shown(base)} holds no .safetensors file, and pickled weights are not opened; give one in"
            " safetensors."
        )
    recorded = read_base(adapter)
    if recorded and (found := weights_print(base)) != recorded.weights:
        pinned = f"{recorded.hub}@{recorded.revision}" if recorded.revision else recorded.hub
        raise KoreanLLMError(
            f"{shown(adapter)} was trained on {pinned} (weights {recorded.weights[:12]}), but {shown(base)} holds other"
            f" weights ({found[:12]}); load it on {pinned}, or tune it again on this model."
        )
    if (adapter.name, base.name) != ("adapter", "model"):
        return  # not laid out as in a run
    tuned, model = load_manifest(adapter.parent), load_manifest(base.parent)
    if tuned and model and tuned.inputs.get("model", model.fingerprint) != model.fingerprint:
        raise KoreanLLMError(
            f"{shown(adapter)} was trained on the model {tuned.inputs['model'][:12]}, but {shown(base)} is"
            f" {model.fingerprint[:12]} ({model.kind}); {_OURS}."
        )


def _check_kind(adapter: Path, found: Shapes) -> None:
    """It adapts a causal language model, and carries no vocabulary."""
    config = read_json(adapter / ADAPTER_CONFIG) or {}
    if not config.get("peft_type"):
        raise KoreanLLMError(f"{ADAPTER_CONFIG} of {shown(adapter)} names no peft_type; give an adapter saved by PEFT.")
    if config.get("megatron_config"):
        raise KoreanLLMError(
            f"{shown(adapter)} asks for a module of its own (megatron_core), and none is imported; leave it."
        )
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise KoreanLLMError(
            f"{shown(adapter)} adapts a model for {config['task_type']}, expected CAUSAL_LM; give an adapter of a"
            " language model."
        )
    if tables := [name for name in found if name.endswith(_TABLES)]:
        rows = found[tables[0]][0]
        raise KoreanLLMError(
            f"{shown(adapter)} carries a vocabulary of its own ({tables[0]}, {rows:,} rows); merge it into its base and"
            " open that as a whole model: an adapter here carries none."
        )


def _check_vocabulary(adapter: Path, base: Path, config: PretrainedConfig) -> None:
    """The embedding table has the rows the adapter was trained with, and the tokenizers are one."""
    recorded = read_base(adapter)
    if recorded and recorded.vocabulary != config.vocab_size:
        raise KoreanLLMError(
            f"{shown(adapter)} was trained on a vocabulary of {recorded.vocabulary:,} rows ({recorded.hub}), but"
            f" {shown(base)} has {config.vocab_size:,}; load it on {recorded.hub}."
        )
    if not (adapter / "tokenizer_config.json").exists():
        return
    own, other = (_tokenizer(folder).get_vocab() for folder in (adapter, base))
    if own != other:
        differing = len(own.items() ^ other.items())
        raise KoreanLLMError(
            f"the tokenizer of {shown(adapter)} has {len(own):,} tokens and that of {shown(base)} {len(other):,},"
            f" {differing:,} entries not the same; {_OURS}."
        )


def _chat(adapter: Path, base: Path) -> Chat:
    """The adapter's own chat, else the base's; it must render as it did when the adapter was trained."""
    own = adapter if (adapter / "tokenizer_config.json").exists() else base
    chat = open_chat(_tokenizer(own))
    chat.check_kept_with(adapter)
    return chat


def _check_shapes(adapter: Path, base: Path, config: PretrainedConfig, found: Shapes) -> None:
    """Every tensor has its place in the base, and every place its tensor."""
    wanted = _wanted_shapes(adapter, config)
    other = [name for name in found if name in wanted and found[name] != wanted[name]]
    if other:
        name = other[0]
        raise KoreanLLMError(
            f"{shown(adapter)} does not fit {shown(base)}: {name} is {_by(found[name])}, but this base takes"
            f" {_by(wanted[name])} ({len(other)} such tensors); {_OURS}."
        )
    if astray := sorted(found.keys() ^ wanted.keys()):
        side = "has no place for" if astray[0] in found else "needs"
        raise KoreanLLMError(
            f"{shown(adapter)} does not fit {shown(base)}: the base {side} {astray[0]} ({len(astray)} such tensors);"
            f" {_OURS}."
        )


def _wanted_shapes(adapter: Path, config: PretrainedConfig) -> Shapes:
    """What PEFT would save of this adapter on a model of this configuration; no memory is taken for either."""
    settings = PeftConfig.from_pretrained(str(adapter), local_files_only=True)
    settings.inference_mode = True
    if hasattr(settings, "init_lora_weights"):
        settings.init_lora_weights = True  # starts that are computed from the base's weights change no shape
    if settings.is_prompt_learning:
        settings.token_dim = settings.num_layers = settings.num_attention_heads = None  # told from this base anew
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            model: Any = get_peft_model(AutoModelForCausalLM.from_config(config, trust_remote_code=False), settings)
            state = get_peft_model_state_dict(model, save_embedding_layers=False)
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:160]
        raise KoreanLLMError(f"{shown(adapter)} does not fit a {config.model_type} model ({why}); {_OURS}.") from None
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _shapes(file: Path) -> Shapes:
    """Shape of every tensor, from the header. Raises KoreanLLMError for a file that is damaged or cut short."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118  no dict
    except (SafetensorError, OSError):
        raise KoreanLLMError(f"{file} is no whole safetensors file; fetch the adapter again.") from None


def _config(base: Path) -> PretrainedConfig:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:160]
        raise KoreanLLMError(f"the base {shown(base)} cannot be opened ({why}); give a whole checkpoint.") from None
    return config


def _tokenizer(folder: Path) -> Any:
    try:
        return load_tokenizer(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:160]
        raise KoreanLLMError(f"the tokenizer in {shown(folder)} cannot be opened ({why}); restore its files.") from None


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
