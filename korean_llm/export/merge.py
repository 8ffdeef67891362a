"""Merge an adapter into its base, prove that the merged model is the adapted one, and write it for serving.

T tokens, V vocabulary. Arithmetic is float32 on the CPU, 4 bytes a parameter; weights are rounded once, to the base's
own number format, and what is measured is the rounded model.
"""

from __future__ import annotations

import gc
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from korean_llm.chat import open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.measure.bits import start_token
from korean_llm.modeling.load import load_tokenizer
from korean_llm.modeling.stage import copy_checkpoint

# Nats per token. Rounding to 8 or 11 significant bits moves every weight a little; a merge that went wrong is far off.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-4, torch.bfloat16: 1e-3}

_TEXT_CHARS = 160
_GREEDY_TOKENS = 16


@dataclass(frozen=True)
class Merge:
    """What was measured before the merged model was written, in nats per token, and the model's greedy answer.

    Attributes:
        adapted_from_merged: KL(adapter ‖ merged), which must be next to nothing.
        adapted_from_base: KL(adapter ‖ base), how much the adapter changes at all.
        tolerance: the largest KL(adapter ‖ merged) accepted.
        tokens: tokens that were compared.
        dtype: the number format written.
        prompts, greedy: token ids of each text's opening, and what the merged model says after it.
    """

    adapted_from_merged: float
    adapted_from_base: float
    tolerance: float
    tokens: int
    dtype: str
    prompts: list[list[int]]
    greedy: list[list[int]]


def write_merged(base: Path, adapter: Path, out: Path, texts: list[str]) -> Merge:
    """Merge the adapter into the base and write model, tokenizer, chat template and generation_config to out.

    Raises KoreanLLMError, and writes nothing, where merged and adapted differ, where adapter weights are missing, or
    where the chat template is not the one the adapter was trained with.
    """
    dtype = _own_dtype(base)
    tokenizer = adapted_tokenizer(base, adapter)
    model = _open(base)
    adapted = _with_adapter(model, adapter)
    ids = [_ids(tokenizer, text) for text in texts]
    with adapted.disable_adapter():
        before = _logits(adapted, ids)
    wanted = _logits(adapted, ids)
    merged: PreTrainedModel = adapted.merge_and_unload()
    _round(merged, dtype)
    found = divergence(wanted, _logits(merged, ids))
    tolerance = TOLERANCE[dtype]
    if not found <= tolerance:
        raise KoreanLLMError(
            f"the merged model is not the adapted one: KL(adapter ‖ merged) is {found:.3g} nats per token, at most"
            f" {tolerance:g} is rounding; nothing was written, and {adapter} is still good for PEFT."
        )
    merged.generation_config = generation_config(base, tokenizer)  # before greedy: it says where an answer ends
    prompts = [part[: _GREEDY_TOKENS * 2] for part in ids]
    report = Merge(
        adapted_from_merged=found,
        adapted_from_base=divergence(wanted, before),
        tolerance=tolerance,
        tokens=sum(map(len, ids)),
        dtype=str(dtype).removeprefix("torch."),
        prompts=prompts,
        greedy=[greedy(merged, prompt) for prompt in prompts],
    )
    nn.Module.to(merged, dtype=dtype)
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return report


def copy_model(base: Path, out: Path) -> None:
    """Copy a model that has no adapter as it is, and say in its generation_config where answers end."""
    copy_checkpoint(base, out)
    generation_config(base, load_tokenizer(base)).save_pretrained(out)


def check_reopened(folder: Path, merge: Merge) -> None:
    """Open what was written with plain transformers; the greedy tokens must be those of the model in memory.

    Raises KoreanLLMError where they differ.
    """
    model = _open(folder)
    for prompt, wanted in zip(merge.prompts, merge.greedy, strict=True):
        if (found := greedy(model, prompt)) != wanted:
            raise KoreanLLMError(
                f"{folder}, opened again, continues {prompt} with {found}, but the merged model in memory said"
                f" {wanted}; the files were not written whole: run the stage again with --only export --force."
            )
    del model
    gc.collect()


def adapted_tokenizer(base: Path, adapter: Path) -> PreTrainedTokenizerBase:
    """The tokenizer the adapter was trained with.

    Raises KoreanLLMError where its ids are not the base's, or its template renders otherwise than in training.
    """
    if not (adapter / "tokenizer_config.json").exists():
        return load_tokenizer(base)
    tokenizer = load_tokenizer(adapter)
    if tokenizer.get_vocab() != load_tokenizer(base).get_vocab():
        raise KoreanLLMError(
            f"the adapter {adapter} was trained with another vocabulary than {base} has; tune it again on this model."
        )
    open_chat(tokenizer).check_kept_with(adapter)
    return tokenizer


def generation_config(base: Path, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Special tokens only: sampling settings of the base were not made for the adapted model.

    An answer ends at the tokenizer's EOS or at any end the base already had.
    """
    ends = [tokenizer.eos_token_id]
    if (base / "generation_config.json").exists():
        known = GenerationConfig.from_pretrained(base).eos_token_id
        ends += known if isinstance(known, list) else [known]
    ends = list(dict.fromkeys(end for end in ends if end is not None))
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends if len(ends) > 1 else next(iter(ends), None),
        pad_token_id=tokenizer.pad_token_id,
    )


@torch.inference_mode()
def greedy(model: PreTrainedModel, prompt: list[int]) -> list[int]:
    """The model's most likely continuation of some token ids, 16 tokens unless it ends before."""
    ids_1T = torch.tensor([prompt], device=model.device)
    output_1T = model.generate(  # type: ignore[operator]
        input_ids=ids_1T,
        attention_mask=torch.ones_like(ids_1T),
        max_new_tokens=_GREEDY_TOKENS,
        do_sample=False,
        pad_token_id=0,
    )
    found: list[int] = output_1T[0, len(prompt) :].tolist()
    return found


def divergence(wanted: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    """KL(wanted ‖ found) in nats per token, from the logits (T, V) of each text; summed in float64."""
    total, tokens = 0.0, 0
    for wanted_TV, found_TV in zip(wanted, found, strict=True):
        p_TV, q_TV = (torch.log_softmax(logits_TV.double(), dim=-1) for logits_TV in (wanted_TV, found_TV))
        total += torch.nn.functional.kl_div(q_TV, p_TV, reduction="sum", log_target=True).item()
        tokens += len(p_TV)
    return total / tokens


@torch.inference_mode()
def _logits(model: nn.Module, ids: list[list[int]]) -> list[torch.Tensor]:
    """Logits (T, V) of each text."""
    return [model(input_ids=torch.tensor([part]), use_cache=False).logits[0] for part in ids]


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text[:_TEXT_CHARS], add_special_tokens=False)["input_ids"]
    return [start_token(tokenizer), *ids]


def _open(folder: Path) -> PreTrainedModel:
    """The model in float32 on the CPU."""
    options: dict[str, object] = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, **options)
    return model.eval()


def _own_dtype(folder: Path) -> torch.dtype:
    """The number format a checkpoint is kept in. Raises KoreanLLMError for any but 16- and 32-bit floats."""
    found = AutoConfig.from_pretrained(folder, local_files_only=True).dtype or torch.float32
    if found not in TOLERANCE:
        raise KoreanLLMError(f"{folder} is kept in {found}; expected float32, float16 or bfloat16.")
    dtype: torch.dtype = found
    return dtype


def _with_adapter(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """The model with the adapter. Raises KoreanLLMError where weights of the adapter are missing: PEFT only warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        try:
            adapted: PeftModel = PeftModel.from_pretrained(model, str(adapter))
        except UserWarning as warning:
            raise KoreanLLMError(f"{adapter} does not fit the model: {str(warning)[:200]}…") from None
        except (RuntimeError, KeyError) as error:
            raise KoreanLLMError(
                f"{adapter} does not fit the model ({str(error).splitlines()[0]}); tune it again on this model."
            ) from None
    return adapted.eval()


def _round(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round every weight to a number format and keep it in float32 for arithmetic."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).to(torch.float32)
