"""Models to pick: the run's own, a folder, an adapter that fits or does not; few stay open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model

from korean_llm.answering import models as room
from korean_llm.answering.models import Models
from korean_llm.answering.writing.local import LocalModel
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.chat import TEMPLATE, open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from tests.conftest import make_model, make_tokenizer

CPU = Machine("cpu", 1)


def write_adapter(folder: Path, base: Path, *, hidden: int = 32) -> Path:
    """A small LoRA adapter with its tokenizer, as the instruction stage leaves one."""
    tokenizer = make_tokenizer()
    tuned = get_peft_model(make_model(len(tokenizer), hidden=hidden), LoraConfig(r=2, target_modules=["q_proj"]))
    tuned.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / TEMPLATE).write_text(json.dumps(open_chat(tokenizer).describe()), encoding="utf-8")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": str(base), "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_the_runs_models_are_offered_and_kept_open(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(run_folder, CPU)
    base = models.offered["base"]
    assert base == ModelPlace(run_folder / "base" / "model") == models.find(" base ")
    assert not models.is_open(base)
    assert models.open(base) is models.open(base)
    assert models.is_open(base)
    copies = [ModelPlace(base.model, None), ModelPlace(base.model / "..", None), ModelPlace(base.model / "." / "..")]
    monkeypatch.setattr(room, "NUM_OPEN", 1)
    monkeypatch.setattr(LocalModel, "open", lambda place, machine: place)
    models.open(copies[1])
    assert models.is_open(copies[1]) and not models.is_open(base)


def test_a_folder_holds_a_model_or_an_adapter_that_fits(run_folder: Path, tmp_path: Path) -> None:
    models = Models(run_folder, CPU)
    assert models.find(str(run_folder / "base")) == models.offered["base"]
    adapter = write_adapter(tmp_path / "mine" / "adapter", run_folder / "base" / "model")
    place = models.find(str(tmp_path / "mine"))
    assert place == ModelPlace((run_folder / "base" / "model").resolve(), adapter.resolve())
    assert models.open(place).generate


def test_an_adapter_of_an_unknown_base_is_tried_on_the_runs_own(run_folder: Path, tmp_path: Path) -> None:
    models = Models(run_folder, CPU)
    write_adapter(tmp_path / "fits", Path("someone/elsewhere"))
    assert models.find(str(tmp_path / "fits")).model == models.offered["base"].model
    write_adapter(tmp_path / "other", Path("someone/elsewhere"), hidden=64)
    with pytest.raises(KoreanLLMError, match="does not fit"):
        models.find(str(tmp_path / "other"))


@pytest.mark.parametrize("choice", ["", "없는 모델", "/no/such/folder", "org/name/too/long", "../base", "https://x/y"])
def test_what_is_none_is_one_sentence(run_folder: Path, choice: str) -> None:
    with pytest.raises(KoreanLLMError, match=r"no model that can be opened; pick one of base") as caught:
        Models(run_folder, CPU).find(choice)
    assert "\n" not in str(caught.value)


def test_readers_from_elsewhere_name_no_folders(run_folder: Path) -> None:
    with pytest.raises(KoreanLLMError, match="no model that can be opened") as caught:
        Models(run_folder, CPU).find(str(run_folder / "base"), folders=False)
    assert "give a Hub adapter id" in str(caught.value)


def test_a_folder_with_neither(run_folder: Path, tmp_path: Path) -> None:
    shutil.copy(run_folder / "recipe.yaml", tmp_path)
    with pytest.raises(KoreanLLMError, match="neither a model nor an adapter"):
        Models(run_folder, CPU).find(str(tmp_path))
