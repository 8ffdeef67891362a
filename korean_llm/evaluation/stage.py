"""Stage `evaluation`: measure every model of the run and write the report, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.artifact import Manifest, write_json
from korean_llm.corpus.documents import holdout_texts
from korean_llm.errors import KoreanLLMError
from korean_llm.evaluation.boundaries import pieces
from korean_llm.evaluation.measurements import measure_all, subjects
from korean_llm.evaluation.report import Report, generation_entries, model_entries, render
from korean_llm.evaluation.sections import (
    artifact_row,
    export_section,
    instruction_section,
    pretraining_section,
    read_manifest,
    retrieval_section,
    source,
    vocabulary_section,
)
from korean_llm.evaluation.summary import summarize
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.provenance import git_commit
from korean_llm.recipe import EvaluationSettings
from korean_llm.settings import read_yaml

SCHEMA = 1
PAGE = "report.html"
FIGURES = "report.json"

# The recipe's copy in the run folder, beside the artifacts.
_RECIPE = "recipe.yaml"
_SECTIONS: dict[str, Callable[[Path, Manifest], dict[str, Any]]] = {
    "vocabulary": vocabulary_section,
    "pretraining": pretraining_section,
    "instruction": instruction_section,
    "export": export_section,
    "retrieval": retrieval_section,
}


def run(
    settings: EvaluationSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Write out/report.html and out/report.json.

    inputs: role → artifact for base and, where the recipe has them, corpus, vocabulary, pretraining, instruction,
    export, retrieval; a section whose artifact is absent is left out. Raises KoreanLLMError where one is not
    complete.
    """
    manifests = {role: read_manifest(folder) for role, folder in inputs.items()}
    sections = {name: read(inputs[name], manifests[name]) for name, read in _SECTIONS.items() if name in inputs}
    texts = _korean_first(holdout_texts(inputs["corpus"], settings.holdout_bytes)) if "corpus" in inputs else {}
    measured = measure_all(subjects(inputs), texts, settings.sample_prompts, machine)
    report: Report = {
        "schema": SCHEMA,
        "name": run_name(inputs["base"].parent),
        "base": str(manifests["base"].metrics.get("source", "?")),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "device": machine.describe(),
        "seed": seed,
        "holdout": holdout_entry(texts, inputs, manifests),
        "models": model_entries(measured, {role: manifest.fingerprint for role, manifest in manifests.items()}),
        "generations": generation_entries(measured),
        "sentences": sentence_entries(inputs, settings.sample_sentences),
        "artifacts": [artifact_row(folder, manifests[role]) for role, folder in inputs.items()],
    }
    report |= sections
    report["summary"] = summarize(report)
    with console.working("writing the report"):
        write_json(out / FIGURES, report)
        (out / PAGE).write_text(render(report), encoding="utf-8")
    return {
        "counts": {"models": len(measured), "holdout": report["holdout"]["languages"]},
        "metrics": {
            "bits_per_byte": {model["role"]: model["bits_per_byte"] for model in report["models"]},
            "change_from_base": {model["role"]: model["change_from_base"] for model in report["models"]},
            "tokens_per_eojeol": {model["role"]: model["tokens_per_eojeol"] for model in report["models"]},
            "tokens_per_s": {model["role"]: model["scored_tokens_per_s"] for model in report["models"]},
        },
    }


def _korean_first(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    return {language: texts[language] for language in sorted(texts, key=lambda language: language != "ko")}


def run_name(folder: Path) -> str:
    """The recipe's name, from its copy in the run folder; the folder's own name where there is none."""
    if not (folder / _RECIPE).exists():
        return folder.name
    try:
        return str(read_yaml(folder / _RECIPE)["name"])
    except (KoreanLLMError, KeyError, TypeError):
        return folder.name


def holdout_entry(
    texts: dict[str, list[str]], inputs: dict[str, Path], manifests: dict[str, Manifest]
) -> dict[str, Any]:
    """What every model was measured on: language → texts and bytes, and the corpus it is held out from."""
    languages = {
        language: {"texts": len(part), "bytes": sum(len(text.encode()) for text in part)}
        for language, part in texts.items()
    }
    return {"source": source(inputs["corpus"], manifests["corpus"]) if texts else None, "languages": languages}


def sentence_entries(inputs: dict[str, Path], sentences: list[str]) -> list[dict[str, Any]]:
    """Sentences as the base and the extended tokenizer cut them; none where no vocabulary was extended."""
    if "vocabulary" not in inputs:
        return []
    tokenizers = {
        role: load_tokenizer(inputs[stage] / "model") for role, stage in (("base", "base"), ("extended", "vocabulary"))
    }
    entries = []
    for sentence in sentences:
        cut = {role: pieces(tokenizer, sentence) for role, tokenizer in tokenizers.items()}
        row = {
            role: {"tokens": sum(piece.tokens for piece in found), "pieces": [asdict(piece) for piece in found]}
            for role, found in cut.items()
        }
        entries.append({"text": sentence, **row})
    return entries
