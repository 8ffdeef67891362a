"""Extend a bare tokenizer folder, with or without a model, outside of any recipe."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.corpus.documents import Document
from korean_llm.corpus.read import read_file
from korean_llm.errors import KoreanLLMError
from korean_llm.hangul import holds_hangul
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.modeling.shape import Shape, from_config
from korean_llm.recipe import Start, VocabularySettings
from korean_llm.vocabulary.extension import curve, num_rows, prove, refuse_extended, save
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.learned import learn
from korean_llm.vocabulary.model import StartTexts, save_model
from korean_llm.vocabulary.report import TOKENS_FILE, compare_fertility, write_tokens
from korean_llm.vocabulary.worth import TYPICAL, judge

REPORT_FILE = "extension.json"
_HELD_OUT = 0.05


def extend(
    tokenizer: Path,
    texts: Iterable[str],
    new_tokens: int | Literal["auto"],
    out: Path,
    *,
    model: Path | None = None,
    initialise: Start = "fitted",
    min_count: int = 2,
    kiwi_weight: float = 0.5,
) -> dict[str, Any]:
    """Extend a tokenizer folder by Korean tokens and prove that other text is untouched; return the report.

    Every text goes by a hash of its own: one in twenty is held out to measure on, the others are learned from.
    Nothing is left in `out` unless all of it is complete.

    Args:
        tokenizer: folder with tokenizer.json, and tokenizer.model where the model has one; it is not changed.
        texts: Korean texts, and any others that the proof is to hold for.
        new_tokens: how many; "auto": as many as save more compute than their rows cost.
        out: folder to write: the extended tokenizer, tokens.jsonl, extension.json, and the model where one is given.
        model: folder of the model whose tables are to grow; may be the same as `tokenizer`.
        initialise: how new rows start; see VocabularySettings.
        min_count: a pair of tokens seen less often is not joined.
        kiwi_weight: see VocabularySettings.

    Raises KoreanLLMError where a folder is not as expected, the tokenizer's family cannot be extended or was extended
    before, the texts are too few, or the proof finds a counter-example.
    """
    _check_folders(tokenizer, model, out)
    refuse_extended(tokenizer)
    settings = VocabularySettings(new_tokens=new_tokens, min_count=min_count, kiwi_weight=kiwi_weight)
    known = list(texts)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        report = _extended(tokenizer, known, settings, model, initialise, partial)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _check_folders(tokenizer: Path, model: Path | None, out: Path) -> None:
    if not (tokenizer / "tokenizer.json").is_file():
        raise KoreanLLMError(
            f"{tokenizer} has no tokenizer.json; expected the folder of a tokenizer, as"
            " AutoTokenizer.save_pretrained writes it."
        )
    if model and not (model / "config.json").is_file():
        raise KoreanLLMError(f"{model} has no config.json; expected the folder of a model, or leave --model out.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise KoreanLLMError(f"{out} exists and is not an empty folder; give another folder, or remove it first.")


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """The texts in files: each line of a text file, the field "text" of each row of JSON lines and Parquet.

    Raises KoreanLLMError naming file and line where there is none.
    """
    for path in paths:
        if not path.is_file():
            raise KoreanLLMError(f"{path} does not exist; expected a .txt, .jsonl, .jsonl.gz or .parquet file.")
        for place, row in read_file(path):
            text = row.get("text")
            if not isinstance(text, str):
                raise KoreanLLMError(f'{place}: expected a field "text", found {", ".join(row) or "none"}.')
            yield from text.splitlines() if ".txt" in path.suffixes else [text]


def wanted_tokens(text: str) -> int | Literal["auto"]:
    """A number of tokens as people write it. Raises KoreanLLMError for anything else."""
    if text == "auto":
        return "auto"
    number = text.replace("_", "").replace(",", "")
    if not number.isdecimal() or int(number) < 1:
        raise KoreanLLMError(f"--new-tokens is {text!r}; expected a whole number from 1, for instance 8000, or auto.")
    return int(number)


def print_extension(report: dict[str, Any], out: Path) -> None:
    """The report as a table."""
    total, judged, proof = report["total"], report["verdict"], report["proof"]
    before, after = (total["tokens_per_eojeol"][name] for name in ("base", "extended"))
    rows = [
        ("new tokens", f"{report['new_tokens']:,} ({report['family']}; {report['steps_only']:,} only steps to others)"),
        ("tokens per eojeol", f"{before:.2f} → {after:.2f} on {report['measured_on']} Korean"),
        ("context saved", f"{judged['context_saved_ratio']:.0%}"),
        ("rows", f"{report['rows']:,}, {judged['rows_added']:,} of them new, for {report['judged_for']}"),
        (
            "memory",
            f"{judged['memory_added_bytes'] / 1e6:,.0f} MB more in bf16 ({judged['parameters_added_ratio']:.1%})",
        ),
        ("speed per character", f"× {judged['speedup_per_char']:.2f}, training and generation"),
        (
            "proof",
            f"{proof['texts']:,} texts, {proof['segments_without_hangul']:,} stretches without Hangul: 0 changed",
        ),
        ("verdict", judged["recommendation"]),
    ]
    console.print_table(f"{out}", ["", ""], rows)


def _shape(model: Path | None, tokenizer: Path, num_ids: int) -> tuple[Shape, bool]:
    """The unextended model's shape, and whether it is known; else that of a 7B with this tokenizer."""
    path = (model or tokenizer) / "config.json"
    return (from_config(path), True) if path.is_file() else (replace(TYPICAL, vocabulary=num_ids), False)


def _held_out(text: str) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6]) < _HELD_OUT * 2**48


def _extended(
    tokenizer: Path,
    texts: list[str],
    settings: VocabularySettings,
    model: Path | None,
    initialise: Start,
    out: Path,
) -> dict[str, Any]:
    old = load_tokenizer(tokenizer)
    family = family_of(tokenizer)
    shape, known = _shape(model, tokenizer, family.first_id)
    held_out = [text for text in texts if holds_hangul(text) and _held_out(text)]
    learned = learn(family, (text for text in texts if not _held_out(text)), settings, shape)
    measured_on, measured_texts = ("held-out", held_out) if held_out else ("training", texts)
    rows = num_rows(family, learned.merges, shape.vocabulary if known else 0)
    new = save(family, learned.merges, rows, tokenizer, out)
    proof = prove(family, learned.merges, tokenizer, out, texts)
    documents = [Document(str(i), "texts", "ko", "", text) for i, text in enumerate(measured_texts)]
    measured: dict[str, Any] = {"measured_on": measured_on, **compare_fertility(old, new, documents)}
    judged = judge(shape, len(learned.merges), rows, measured, auto=settings.new_tokens == "auto")
    started = {}
    if model:
        training = {"ko": [text for text in texts if holds_hangul(text) and not _held_out(text)]}
        training["en"] = [text for text in texts if not holds_hangul(text) and not _held_out(text)]
        english = [Document(str(i), "texts", "en", "", text) for i, text in enumerate(texts) if not holds_hangul(text)]
        start_texts = StartTexts(training, [*documents, *(item for item in english if _held_out(item.text))])
        started = save_model(
            model, tokenizer, out, family, learned.merges, rows, initialise, initialise, start_texts, Machine(), seed=0
        )
    report = {
        "family": family.name,
        "new_tokens": len(learned.merges),
        "first_id": family.first_id,
        "rows": rows,
        "steps_only": len(learned.steps),
        "kinds": write_tokens(out / TOKENS_FILE, family, learned),
        "learned_from_bytes": learned.num_bytes,
        "judged_for": "the model's config.json" if known else "a 7B model with this tokenizer",
        **{key: measured[key] for key in ("measured_on", "total")},
        "curve": curve(family, learned, measured_texts),
        "verdict": judged,
        "starting_rows": started,
        "proof": asdict(proof),
    }
    write_json(out / REPORT_FILE, report)
    return report
