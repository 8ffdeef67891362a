"""A base whose last rows stand for new tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import make_model, make_tokenizer


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
