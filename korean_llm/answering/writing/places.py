"""Where a run's models lie: found by their artifacts, without opening any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from korean_llm.artifact import load_manifest
from korean_llm.errors import KoreanLLMError


@dataclass(frozen=True)
class ModelPlace:
    """Where a run's best model lies: a checkpoint folder, and an adapter on it or None."""

    model: Path
    adapter: Path | None = None


def find_model(run_folder: Path) -> ModelPlace | None:
    """The run's most finished model: exported, else tuned, else pretrained, extended or the base; None without any."""
    for stage in ("export", "online", "preference", "instruction", "pretraining", "vocabulary", "base"):
        if place := stage_model(run_folder / stage):
            return place
    return None


def stage_model(stage: Path) -> ModelPlace | None:
    """The model that a stage's finished folder leaves; None where it leaves none.

    Raises KoreanLLMError where it leaves an adapter whose base is gone.
    """
    if load_manifest(stage) is None:
        return None
    if (stage / "adapter").exists():
        return _tuned(stage / "adapter")
    return ModelPlace(stage / "model") if (stage / "model" / "config.json").exists() else None


def named_base(adapter: Path) -> Path:
    """The base folder that an adapter names relative to itself; whether it is there is not looked at."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return (adapter / str(config.get("base_model_name_or_path") or "")).resolve()


def _tuned(adapter: Path) -> ModelPlace:
    """An adapter and the base that it names, relative to itself."""
    base = named_base(adapter)
    if not (base / "config.json").exists():
        raise KoreanLLMError(f"the adapter {adapter} stands on {base}, which is missing; run its recipe again.")
    return ModelPlace(base, adapter)
