"""A tiny finished run, made with the real stages' own parts, and the stand-in for the Hub that the client talks to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from korean_llm import artifact
from korean_llm.corpus.card import load_card
from korean_llm.export import stage as export_stage
from korean_llm.machine import Machine
from korean_llm.recipe import ExportSettings
from tests.export.tiny import write_adapter, write_model
from tests.hub.stand_in import TOKEN, StandIn

RECIPE = """name: tiny
base: ./somewhere/base
instruction: {data: [instructions-ko, ultrafeedback-ko], max_tokens: 128}
export: {formats: [safetensors, gguf-q8_0]}
"""


def finish(run: Path, kind: str, inputs: dict[str, str], metrics: dict[str, Any], **more: Any) -> artifact.Manifest:
    """Hash what lies in the stage's partial folder, and put it in its place with a manifest."""
    files = artifact.describe_files(artifact.partial_folder(run / kind))
    manifest = artifact.Manifest(kind, more.pop("settings", {}), inputs, files, metrics=metrics, device="cpu", **more)
    artifact.finish(run / kind, manifest)
    return manifest


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base → instruction → export, and an evaluation whose figures are known. Do not write into it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    write_model(artifact.begin(folder / "base", {}) / "model")
    base = finish(folder, "base", {}, {"home": "folder"}, settings={"folder": "./somewhere/base"})

    adapter = artifact.begin(folder / "instruction", {}) / "adapter"
    write_adapter(folder / "base" / "model", adapter)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "../../base/model"
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (adapter.parent / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    (adapter / ".hidden").write_text("x", encoding="utf-8")
    (adapter / "optimizer.pt").write_bytes(b"x")
    data = {f"data:{name}": load_card(name).fingerprint for name in ("instructions-ko", "ultrafeedback-ko")}
    losses = {"holdout_loss_before": 3.5, "holdout_loss_after": 2.25}
    tuned = finish(folder, "instruction", {"model": base.fingerprint, **data}, losses)

    settings = ExportSettings(formats=["safetensors", "gguf-q8_0"], max_bits_per_byte_loss=1.0)
    inputs = {"model": folder / "base", "adapter": folder / "instruction"}
    out = artifact.begin(folder / "export", {})
    result = export_stage.run(settings, inputs, out, Machine("cpu", 1), 17)
    read = {"model": base.fingerprint, "adapter": tuned.fingerprint}
    exported = finish(folder, "export", read, result["metrics"], counts=result["counts"])

    artifact.begin(folder / "evaluation", {})
    measured = {
        "bits_per_byte": {"base": {"ko": 3.0}, "tuned": {"ko": 2.7}},
        "change_from_base": {"base": {"ko": 0.0}, "tuned": {"ko": -0.1}},
        "tokens_per_eojeol": {"base": 8.0, "tuned": 8.0},
    }
    everything = {"base": base.fingerprint, "instruction": tuned.fingerprint, "export": exported.fingerprint}
    finish(folder, "evaluation", everything, measured, counts={"holdout": {"ko": {"texts": 3, "bytes": 4321}}})
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """The real client, signed in, turned to a stand-in with an empty cache."""
    server = StandIn()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks LFS
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.stop()
    huggingface_hub.close_session()
