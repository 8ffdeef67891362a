"""Stage `export`: merge the adapter, write safetensors and GGUF, and measure every file before it counts as done."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.artifact import PARTIAL, write_json
from korean_llm.export import parity
from korean_llm.export.gguf import check_convertible, write_gguf
from korean_llm.export.llama_cpp import bindings
from korean_llm.export.merge import check_reopened, copy_model, write_merged
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.recipe import ExportSettings

PARITY = "parity.json"
_NOT_CHECKED = "xllamacpp is not installed or cannot be loaded here; the file was read by transformers only"
_TEXTS_PER_LANGUAGE = 2


def run(settings: ExportSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int) -> dict[str, Any]:
    """Write out/model, a GGUF file per format, and out/parity.json with everything that was compared.

    Args:
        inputs: "model": artifact with model/; "adapter", if any: artifact with adapter/; "corpus", if any: hold-out
            texts to measure with.

    Raises KoreanLLMError where the model cannot be converted, the merge is not exact, or a file is too far off.
    """
    source, model = inputs["model"] / "model", out / "model"
    formats = [name for name in settings.formats if name != "safetensors"]
    if formats:
        check_convertible(source, formats)
    texts = parity.parity_texts(inputs.get("corpus"))
    merge = _write_model(source, inputs.get("adapter"), model, texts)
    tokenizer = load_tokenizer(model)
    reference = parity.measure_model(model, tokenizer, texts, machine)
    report: dict[str, Any] = {"merge": merge, "bits_per_byte": {"model": _rounded(reference)}, "files": {}}
    speeds = {}
    for name in formats:
        file = out / f"model-{name.removeprefix('gguf-')}.gguf"
        types = write_gguf(model, file, name, machine.num_workers)
        quantized = parity.measure_gguf(file, tokenizer, texts, machine)
        parity.check_rise(file, reference, quantized, settings.max_bits_per_byte_loss)
        checked, speeds[file.name] = _in_llama_cpp(file, tokenizer, texts, machine)
        report["bits_per_byte"][file.name] = _rounded(quantized)
        report["files"][file.name] = {
            "bytes": file.stat().st_size,
            "tensors": types,
            "rise": _rounded(parity.rises(reference, quantized)),
            "llama_cpp": checked,
        }
    sizes = {path.name: _size(path) for path in sorted(out.iterdir()) if path.name != PARTIAL}
    if "safetensors" not in settings.formats:
        shutil.rmtree(model)
        del sizes[model.name]
    write_json(out / PARITY, report)
    return {
        "counts": {"files": len(sizes), "bytes": sizes},
        "metrics": {
            "merge": merge,
            "bits_per_byte": report["bits_per_byte"],
            "rise": {name: entry["rise"] for name, entry in report["files"].items()},
            "tokens_per_s": {name: speed for name, speed in speeds.items() if speed is not None},
        },
    }


def _write_model(source: Path, adapter: Path | None, model: Path, texts: parity.Texts) -> dict[str, Any]:
    """Write the merged or copied checkpoint; what is known of its equality with its source."""
    if adapter is None:
        copy_model(source, model)
        return {"adapter": False}
    with console.working("merging the adapter"):
        chosen = [text for part in texts.values() for text in part[:_TEXTS_PER_LANGUAGE]]
        merge = write_merged(source, adapter / "adapter", model, chosen)
        check_reopened(model, merge)
    kept = {name: value for name, value in asdict(merge).items() if name not in ("prompts", "greedy")}
    return {"adapter": True, **kept, "reopened_greedy_texts_equal": len(merge.greedy)}


def _in_llama_cpp(
    file: Path, tokenizer: PreTrainedTokenizerBase, texts: parity.Texts, machine: Machine
) -> tuple[dict[str, Any], float | None]:
    """What llama.cpp made of the file, and tokens per second.

    The speed is kept out of parity.json, so that the same work done twice gives the same artifact.
    """
    xllamacpp = bindings()
    if xllamacpp is None:
        console.note(f"{file.name}: {_NOT_CHECKED}")
        return {"checked": False, "reason": _NOT_CHECKED}, None
    found = parity.check_llama_cpp(xllamacpp, file, tokenizer, texts, machine)
    speed = found.pop("tokens_per_s")
    return {"checked": True, **found}, speed


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(part.stat().st_size for part in ([path] if path.is_file() else path.rglob("*")))
