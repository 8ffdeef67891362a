"""The stage: files, figures, gates; and the published model opens without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gguf import GGUFReader

from korean_llm.artifact import describe_files
from korean_llm.errors import KoreanLLMError
from korean_llm.export import parity
from korean_llm.export.gguf import write_gguf
from korean_llm.export.llama_cpp import LlamaCpp, bindings
from korean_llm.export.quantize import ggml
from korean_llm.export.stage import run
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.recipe import ExportSettings
from tests.export.tiny import train_a_little, write_adapter, write_model
from tests.vocabulary.tiny import write_corpus

CPU = Machine("cpu", workers=1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained tiny model, an adapter on it, and a corpus."""
    root = tmp_path_factory.mktemp("chain")
    write_model(root / "pretraining" / "model")
    train_a_little(root / "pretraining" / "model")
    write_adapter(root / "pretraining" / "model", root / "instruction" / "adapter", size=0.01)
    return {
        "model": root / "pretraining",
        "adapter": root / "instruction",
        "corpus": write_corpus(root / "corpus"),
    }


def export(inputs: dict[str, Path], out: Path, **settings: object) -> dict:
    out.mkdir()
    return run(ExportSettings.model_validate(settings), inputs, out, CPU, seed=17)


def test_the_whole_stage(chain: dict[str, Path], tmp_path: Path) -> None:
    result = export(chain, tmp_path / "export")
    out = tmp_path / "export"
    assert {path.name for path in out.iterdir()} == {"model", "model-q8_0.gguf", "model-q4_k_m.gguf", "parity.json"}
    report = json.loads((out / "parity.json").read_text(encoding="utf-8"))
    assert report["merge"]["adapted_from_merged"] < 1e-6 < report["merge"]["adapted_from_base"]
    for name, entry in report["files"].items():
        assert entry["bytes"] == (out / name).stat().st_size == result["counts"]["bytes"][name]
        assert entry["llama_cpp"]["checked"] and entry["llama_cpp"]["texts_tokenized_alike"] > 20
        assert entry["llama_cpp"]["tokens"] == 16
        assert abs(entry["rise"]["ko"]) < 0.02
        assert result["metrics"]["tokens_per_s"][name] > 0
    assert json.loads(json.dumps(result)) == result
    # An untrained model needs more than 8 bits for a byte: what is measured is not noise. 8 bits lose next to nothing.
    bits = report["bits_per_byte"]
    assert bits["model"]["ko"] < 6.0
    assert bits["model-q8_0.gguf"]["ko"] == pytest.approx(bits["model"]["ko"], rel=0.005)


def test_the_same_work_gives_the_same_files(chain: dict[str, Path], tmp_path: Path) -> None:
    hashes = []
    for name in ("first", "second"):
        export(chain, tmp_path / name, formats=["gguf-q4_k_m"])
        hashes.append({file.path: file.sha256 for file in describe_files(tmp_path / name)})
    assert hashes[0] == hashes[1]
    assert hashes[0].keys() == {"model-q4_k_m.gguf", "parity.json"}


def test_without_adapter_and_corpus(chain: dict[str, Path], tmp_path: Path) -> None:
    result = export({"model": chain["model"]}, tmp_path / "export", formats=["safetensors", "gguf-q8_0"])
    assert result["metrics"]["merge"] == {"adapter": False}
    assert result["metrics"]["rise"]["model-q8_0.gguf"].keys() == {"en", "ko"}


def test_a_file_that_lost_too_much_is_refused(chain: dict[str, Path], tmp_path: Path) -> None:
    """One matrix of a finished file is damaged; the gate names the file and both figures."""
    folder, file = chain["model"] / "model", tmp_path / "model-q8_0.gguf"
    write_gguf(folder, file, "gguf-q8_0", 1)
    tokenizer, texts = load_tokenizer(folder), parity.parity_texts(chain["corpus"])
    reference = parity.measure_model(folder, tokenizer, texts, CPU)
    parity.check_rise(file, reference, parity.measure_gguf(file, tokenizer, texts, CPU), 0.01)

    tensor = next(tensor for tensor in GGUFReader(file).tensors if tensor.name == "blk.1.ffn_down.weight")
    with file.open("r+b") as handle:
        handle.seek(int(tensor.data_offset))
        handle.write(b"\x21\x3c" * (int(tensor.n_bytes) // 2))
    damaged = parity.measure_gguf(file, tokenizer, texts, CPU)
    with pytest.raises(KoreanLLMError, match=r"model-q8_0.gguf is refused: Korean bits per byte go from \d\.\d+ to"):
        parity.check_rise(file, reference, damaged, 0.15)


def test_a_rise_that_is_no_number_is_refused() -> None:
    with pytest.raises(KoreanLLMError, match="is refused"):
        parity.check_rise(Path("m.gguf"), {"ko": 1.0}, {"ko": float("nan")}, 0.15)


def test_the_limit_of_the_recipe_is_the_gate(chain: dict[str, Path], tmp_path: Path) -> None:
    folder = chain["model"] / "model"
    reference = parity.measure_model(folder, load_tokenizer(folder), parity.parity_texts(chain["corpus"]), CPU)
    worse = {"en": reference["en"], "ko": reference["ko"] * 1.1}
    parity.check_rise(Path("m.gguf"), reference, worse, 0.11)
    with pytest.raises(KoreanLLMError, match=r"\+10\.0%.*allows 9\.0%"):
        parity.check_rise(Path("m.gguf"), reference, worse, 0.09)


def test_a_tokenizer_that_llama_cpp_reads_otherwise_is_refused(chain: dict[str, Path], tmp_path: Path) -> None:
    """A file that names another pre-tokenizer, Falcon's, which takes three digits at once."""
    folder, file = chain["model"] / "model", tmp_path / "m.gguf"
    write_gguf(folder, file, "gguf-q8_0", 1)
    content = file.read_bytes()
    assert content.count(b"smollm") == 1
    file.write_bytes(content.replace(b"smollm", b"falcon"))
    with pytest.raises(KoreanLLMError, match="cuts a text otherwise"):
        parity.check_llama_cpp(bindings(), file, load_tokenizer(folder), parity.parity_texts(None), CPU)


def test_a_file_that_is_no_gguf_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(KoreanLLMError, match=r"llama\.cpp cannot open"):
        LlamaCpp(bindings(), file, CPU)


def test_the_model_opens_without_this_package(chain: dict[str, Path], tmp_path: Path) -> None:
    export(chain, tmp_path / "export", formats=["safetensors"])
    folder = tmp_path / "export" / "model"
    prompt = "우리 할머니는 이른 아침마다"
    script = (
        "import sys; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"t = AutoTokenizer.from_pretrained({str(folder)!r})\n"
        f"m = AutoModelForCausalLM.from_pretrained({str(folder)!r})\n"
        f"x = t({prompt!r}, return_tensors='pt')\n"
        "print(m.generate(**x, max_new_tokens=12, do_sample=False)[0].tolist())\n"
        "assert not any(name.startswith('korean_llm') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    tokenizer = load_tokenizer(folder)
    own = load_model(folder, CPU).generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=12, do_sample=False)
    assert json.loads(done.stdout.splitlines()[-1]) == own[0].tolist()


def test_without_xllamacpp_it_says_what_was_not_checked(
    chain: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own way to make a package absent: None in sys.modules raises ImportError."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setitem(sys.modules, "xllamacpp.xllamacpp", None)
    ggml.cache_clear()
    export(chain, tmp_path / "q8", formats=["gguf-q8_0"])
    report = json.loads((tmp_path / "q8" / "parity.json").read_text(encoding="utf-8"))
    assert report["files"]["model-q8_0.gguf"]["llama_cpp"]["checked"] is False
    with pytest.raises(KoreanLLMError, match="gguf-q4_k_m needs the package xllamacpp"):
        export(chain, tmp_path / "q4", formats=["gguf-q4_k_m"])
    assert not list((tmp_path / "q4").iterdir())
