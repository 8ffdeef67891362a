"""Stage `pretraining`: continued pretraining on packed blocks, phase by phase, resumable after every kill."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.corpus.documents import TRAIN, read_documents, read_shares
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.modeling.trainable import input_rows, load_parameters, merge, prepare
from korean_llm.recipe import PretrainingSettings
from korean_llm.training.blocks import tokens_by_source, write_order
from korean_llm.training.launch import launch
from korean_llm.training.phases import Phases, Plan, run_phases
from korean_llm.training.probe import Probe
from korean_llm.training.retention import merge_back
from korean_llm.training.tokens import Tokens, write_tokens

_FIRST_FIGURES = "before.json"


def run(
    settings: PretrainingSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Train the model of inputs["model"] on inputs["corpus"]; write out/model, an ordinary merged checkpoint.

    Raises KoreanLLMError where the recipe asks for what the model, the corpus or the machine does not have, and where
    training goes wrong; what was trained till then is kept, and the next run goes on from it.
    """
    check_batch(settings, machine)
    set_seed(seed)
    source = inputs["model"] / "model"
    tokenizer, new_ids = load_tokenizer(source), new_token_ids(inputs["model"])
    plan = Plan(settings, source, inputs["corpus"], out, new_ids, machine, seed)
    probe = Probe(settings, inputs["corpus"], tokenizer)
    model = load_model(source, machine, quantized=settings.quantized_base)
    frozen = frozen_rows(input_rows(model), new_ids) if not _trains_old_rows(settings) else None
    pack(plan, tokenizer)
    plan = replace(plan, before=_first_figures(plan, probe, model))
    console.log_metrics(out, phase="before", step=0, **plan.before)

    phases = Phases(plan, model, probe)
    started = time.monotonic()
    accounts = run_phases(plan, phases, launch(plan, phases.model) if machine.gpus > 1 else None)
    seconds = time.monotonic() - started

    merged = finish_model(plan, phases, len(accounts))
    figures = {"before": plan.before, "after": probe.measure(merged)}
    if settings.merge_back:
        merge_back(merged, source, new_ids, settings.merge_back)
        figures = {**figures, "before_merge_back": figures["after"], "after": probe.measure(merged)}
    if frozen is not None:
        check_frozen(frozen, merged, new_ids)
    read = counts(plan, accounts)
    console.log_metrics(out, phase="after", step=read["steps"], **figures["after"])
    save(merged, tokenizer, machine, out)
    shutil.rmtree(plan.checkpoints)
    return {
        "counts": read,
        "metrics": {**figures, "training_s": round(seconds, 1), "phases": accounts},
    }


def check_batch(settings: PretrainingSettings, machine: Machine) -> None:
    """Raises KoreanLLMError where the blocks of a step cannot be shared out among the processes."""
    if settings.batch_blocks % machine.gpus:
        raise KoreanLLMError(
            f"pretraining.batch_blocks is {settings.batch_blocks}, which {machine.gpus} GPUs cannot share evenly;"
            f" choose a multiple of {machine.gpus}, or other --gpus."
        )


def _trains_old_rows(settings: PretrainingSettings) -> bool:
    return bool(settings.groups & {"input_rows", "output_rows"})


def new_token_ids(folder: Path) -> list[int]:
    """Ids of the tokens that the vocabulary stage added; empty for a base that was not extended."""
    path = folder / "tokens.jsonl"
    if not path.exists():
        return []
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


def pack(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write tokens and order of the whole run; tokens that a run of before has written are taken as they are."""
    tokens = write_tokens(read_documents(plan.corpus / TRAIN), tokenizer, plan.checkpoints / "tokens")
    write_order(tokens, read_shares(plan.corpus), plan.num_tokens, plan.checkpoints, plan.seed)


def counts(plan: Plan, accounts: list[dict[str, Any]]) -> dict[str, Any]:
    """What was read, to the step at which training ended."""
    steps = plan.steps[: len(accounts)]
    if accounts[-1]["stopped"]:
        steps[-1] = accounts[-1]["stopped"]["step"]
    num_tokens = sum(steps) * plan.settings.block_tokens * plan.settings.batch_blocks
    by_source = tokens_by_source(Tokens(plan.checkpoints / "tokens"), plan.checkpoints, num_tokens)
    return {"steps": sum(steps), "tokens": num_tokens, "tokens_by_source": by_source}


def _first_figures(plan: Plan, probe: Probe, model: PreTrainedModel) -> dict[str, Any]:
    """Figures of the model that training begins with, measured once."""
    path = plan.checkpoints / _FIRST_FIGURES
    if not path.exists():
        write_json(path, probe.measure(model))
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def frozen_rows(weight_VD: torch.Tensor, new_ids: list[int]) -> torch.Tensor:
    """A copy of the rows that no phase may change."""
    return weight_VD.detach().cpu()[: _first_new(weight_VD, new_ids)].clone()


def _first_new(weight_VD: torch.Tensor, new_ids: list[int]) -> int:
    return min(new_ids) if new_ids else len(weight_VD)


def check_frozen(frozen_VD: torch.Tensor, model: PreTrainedModel, new_ids: list[int]) -> None:
    """Promise 2: old rows have changed by exactly 0.0. Raises KoreanLLMError otherwise."""
    now_VD = input_rows(model).cpu()[: len(frozen_VD)]
    if not torch.equal(now_VD, frozen_VD):
        moved = (now_VD.float() - frozen_VD.float()).abs().max().item()
        raise KoreanLLMError(
            f"rows of old tokens moved by up to {moved:g} although frozen; this run is not to be used."
        )


def finish_model(plan: Plan, phases: Phases, num_phases: int) -> PreTrainedModel:
    """The trained model as ordinary weights. A 4-bit base is replaced by the full one before merging."""
    model, settings = phases.model, plan.settings
    if settings.quantized_base:
        model = prepare(load_model(plan.source, plan.machine), settings.groups, plan.new_ids, settings.lora)
        load_parameters(model, plan.done(num_phases))
    model.to(plan.machine.torch_device()).eval()  # type: ignore[arg-type]
    return merge(model)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, machine: Machine, out: Path) -> None:
    """Write out/model in the machine's number format; what trained was held in float32."""
    model.to(machine.dtype())  # type: ignore[arg-type]
    model.config.use_cache = True  # the Trainer switches it off
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
