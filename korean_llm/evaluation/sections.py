"""What earlier stages wrote, read for the report. Every section names the stage and fingerprint it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.artifact import MANIFEST, Manifest, load_manifest
from korean_llm.errors import KoreanLLMError
from korean_llm.measure.ranking import Rank, interval, ndcg_at

Section = dict[str, Any]
Point = dict[str, float]

_EXAMPLE_TOKENS = 24
_FOUND_WITHIN = 5


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact. Raises KoreanLLMError where the artifact is not complete."""
    manifest = load_manifest(folder)
    if manifest is None:
        raise KoreanLLMError(f"{folder} has no {MANIFEST}, so it is not complete; run again with --from {folder.name}.")
    return manifest


def source(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Where figures come from: {"stage", "fingerprint"}."""
    return {"stage": folder.name, "fingerprint": manifest.fingerprint}


def artifact_row(folder: Path, manifest: Manifest) -> Section:
    """An artifact for the table of all artifacts; `manifest` is its path seen from the report."""
    return {
        **source(folder, manifest),
        "manifest": f"../{folder.name}/{MANIFEST}",
        "kind": manifest.kind,
        "start": manifest.start,
        "seconds": manifest.seconds,
        "bytes": sum(file.bytes for file in manifest.files),
        "device": manifest.device,
        "git_commit": manifest.git_commit,
        "versions": manifest.versions,
        "inputs": manifest.inputs,
    }


def _merge_back(metrics: dict[str, Any]) -> Section | None:
    """Bits per byte before training, trained, and merged back; None where nothing was merged."""
    if "before_merge_back" not in metrics:
        return None
    mark = "_bits_per_byte"
    keys = sorted(key for key in metrics["after"] if key.endswith(mark))
    named = (("학습 전", "before"), ("학습 뒤", "before_merge_back"), ("섞은 뒤", "after"))
    return {
        "languages": [key.removesuffix(mark) for key in keys],
        "rows": [[title, [metrics[name][key] for key in keys]] for title, name in named],
    }


def pretraining_section(folder: Path, manifest: Manifest) -> Section:
    """Curves over all phases: loss per step, bits per byte per language, and the step at which each phase ends.

    Steps are counted from the beginning of pretraining; metrics.jsonl counts them within each phase.
    """
    offset, last_step, phases = 0, 0, []
    loss: dict[int, float] = {}
    bits: dict[str, dict[int, float]] = {}
    current = None
    for row in console.read_metrics(folder):
        name, step = row["phase"], row.get("step", 0)
        if name != current and name not in ("before", "after"):
            offset, current = last_step, name
            phases.append({"name": name, "first_step": offset + 1})
        # "after" counts all steps of all phases itself.
        at = step if name in ("before", "after") else offset + step
        last_step = max(last_step, at)
        if "loss" in row:
            loss[at] = row["loss"]
        for key in row:
            if key.endswith("_bits_per_byte"):
                bits.setdefault(key.removesuffix("_bits_per_byte"), {})[at] = row[key]
    return {
        "source": source(folder, manifest),
        "steps": last_step,
        "tokens": manifest.counts.get("tokens"),
        "phases": phases,
        "accounts": manifest.metrics.get("phases", []),
        "merge_back": _merge_back(manifest.metrics),
        "loss": _points(loss, "loss"),
        "bits_per_byte": {
            language: _points(bits[language], "bits_per_byte")
            for language in sorted(bits, key=lambda language: language != "ko")
        },
    }


def instruction_section(folder: Path, manifest: Manifest) -> Section:
    """The tuning loss per step, and the loss on held-out examples before and after."""
    loss = {row["step"]: row["loss"] for row in console.read_metrics(folder) if "loss" in row}
    return {
        "source": source(folder, manifest),
        "loss": _points(loss, "loss"),
        "examples": manifest.counts.get("examples"),
        "held_out": manifest.counts.get("held_out"),
        "holdout_loss_before": manifest.metrics.get("holdout_loss_before"),
        "holdout_loss_after": manifest.metrics.get("holdout_loss_after"),
    }


def _points(values: dict[int, float], name: str) -> list[Point]:
    """Step → value as a list in order of the steps; a step measured twice (after a kill) counts as measured last."""
    return [{"step": step, name: round(values[step], 4)} for step in sorted(values)]


def vocabulary_section(folder: Path, manifest: Manifest) -> Section:
    """Fertility per source before and after, the kinds of new tokens, some of them, and what was proved."""
    fertility = json.loads((folder / "fertility.json").read_text(encoding="utf-8"))
    return {
        "source": source(folder, manifest),
        "measured_on": fertility["measured_on"],
        "total": fertility["total"],
        "sources": fertility["sources"],
        "new_tokens": manifest.counts.get("new_tokens"),
        "kinds": manifest.counts.get("kinds", {}),
        "proof": manifest.metrics.get("proof", {}),
        "curve": fertility.get("curve", []),
        "verdict": fertility.get("verdict", {}),
        "starting_rows": fertility.get("starting_rows", {}),
        "examples": _example_tokens(folder / "tokens.jsonl"),
    }


def _example_tokens(path: Path) -> list[str]:
    """The first learned, so most frequent, new tokens of two syllables or more."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    words = [row["text"] for row in rows if row["text"] and len(row["text"].strip()) > 1]
    return words[:_EXAMPLE_TOKENS]


def export_section(folder: Path, manifest: Manifest) -> Section:
    """Every exported file with its size, bits per byte per language, and their rise over the unquantized model."""
    parity = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    speeds, sizes = manifest.metrics.get("tokens_per_s", {}), manifest.counts.get("bytes", {})
    files = [
        {
            "name": name,
            "bytes": parity["files"].get(name, {}).get("bytes", sizes.get(name)),
            "bits_per_byte": bits,
            "rise": parity["files"].get(name, {}).get("rise", {}),
            "llama_cpp": parity["files"].get(name, {}).get("llama_cpp", {}),
            "tokens_per_s": speeds.get(name),
        }
        for name, bits in parity["bits_per_byte"].items()
    ]
    return {"source": source(folder, manifest), "merge": parity["merge"], "files": files}


def retrieval_section(folder: Path, manifest: Manifest) -> Section:
    """Ranking metrics per arm, what fusion brought, and the questions that the hybrid search did not answer.

    A question counts as missed where its evidence is not among the first five passages.
    """
    path = folder / "questions.json"
    questions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    ranks = {arm: [row["ranks"][arm] for row in questions] for arm in manifest.metrics}
    missed = [
        {"question": row["question"], "rank": row["ranks"]["hybrid"]}
        for row in questions
        if row["ranks"]["hybrid"] is None or row["ranks"]["hybrid"] > _FOUND_WITHIN
    ]
    counts = {name: manifest.counts.get(name, 0) for name in ("documents", "passages", "questions")}
    section = {"source": source(folder, manifest), **counts, "arms": manifest.metrics, "missed": missed}
    return section | {"fusion": fusion_gain(ranks) if "dense" in ranks else None}


def fusion_gain(ranks: dict[str, list[Rank]]) -> Section:
    """nDCG@10 of the hybrid search less that of its better arm, and the 95 % bootstrap interval over questions.

    ranks: arm → rank per question, the same questions in the same order for "lexical", "dense" and "hybrid".
    """
    best = max(("lexical", "dense"), key=lambda arm: ndcg_at(ranks[arm], 10))
    pairs = zip(ranks["hybrid"], ranks[best], strict=True)
    gains = [ndcg_at([fused], 10) - ndcg_at([single], 10) for fused, single in pairs]
    low, high = interval(gains)
    gain = sum(gains) / len(gains)
    return {"over": best, "ndcg@10": round(gain, 4), "interval": [round(low, 4), round(high, 4)]}
