"""A base whose last rows stand for new tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import make_model, make_tokenizer
from tests.training.killing import child


def extended_folder(folder: Path, *, tied: bool, num_new: int = 20) -> Path:
    """A vocabulary artifact as the pretraining stage reads it."""
    tokenizer = make_tokenizer()
    make_model(len(tokenizer), tied=tied).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    ids = range(len(tokenizer) - num_new, len(tokenizer))
    (folder / "tokens.jsonl").write_text("\n".join(json.dumps({"id": i}) for i in ids), encoding="utf-8")
    return folder


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def extended(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The extended base, with one table and with two."""
    return extended_folder(tmp_path / "vocabulary", tied=request.param)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> dict[str, torch.Tensor]:
    """What an unbroken pretraining ends with, of the tied base and the settings of test_pretrain."""
    folder = tmp_path_factory.mktemp("whole")
    assert child(extended_folder(folder / "base", tied=True), corpus_folder, folder / "out").ended() == 0
    return load_file(folder / "out" / "model" / "model.safetensors")
