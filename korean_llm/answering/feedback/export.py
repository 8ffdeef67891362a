"""Feedback as corpora: pairs and labels for the stage `preference`, examples for the stage `instruction`."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from korean_llm.answering.feedback.rows import Row, Rows, rows_of
from korean_llm.answering.feedback.store import Feedback
from korean_llm.artifact import hash_file, partial_folder, sync
from korean_llm.corpus.card import CARD
from korean_llm.errors import KoreanLLMError
from korean_llm.training.examples import read_examples, read_judged, read_pairs

_ROWS = "rows.jsonl"
_READERS: dict[str, Callable[[list[str]], Any]] = {
    "preferences": read_pairs,
    "labels": read_judged,
    "instructions": read_examples,
}
"""Corpus → how the stage that it is for reads it."""
_CARDS = {
    "preferences": ("preferences", "pairs of a better and a worse answer", "For preference.method dpo or kto."),
    "labels": (
        "preferences",
        "answers, each wanted or not",
        "For preference.method kto: every verdict, also those that stand in no pair, so give it instead of the pairs.",
    ),
    "instructions": ("instructions", "answers that readers liked or rewrote", "For instruction.data."),
}


def export(feedback: Feedback, out: Path) -> dict[str, Any]:
    """Write out/preferences, out/labels and out/instructions, those that have rows; what was written and left out.

    Everything is written aside, read back as the stages read it, and put in place at once. Raises KoreanLLMError
    where `out` holds something, or there is no row to write.
    """
    _refuse_occupied(out)
    rows = rows_of(feedback.judged())
    corpora = {name: found for name in _CARDS if (found := getattr(rows, name))}
    if not corpora:
        raise KoreanLLMError(f"{feedback.path} holds nothing to learn from yet{_why(rows.dropped)}.")
    aside = partial_folder(out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for name, found in corpora.items():
            _write(aside / name, name, found, rows.masked)
        _put(aside, out)
    except OSError as error:
        raise KoreanLLMError(f"{out} cannot be written ({error.strerror}); choose another folder with --out.") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    written = {name: len(found) for name, found in corpora.items()}
    return {"rows": written, "signals": _signals(rows), "dropped": dict(rows.dropped), "masked": dict(rows.masked)}


def _refuse_occupied(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise KoreanLLMError(f"{out} is there already; give --out a new or an empty folder.")


def _why(dropped: Counter[str]) -> str:
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    return f" (left out: {left_out})" if left_out else "; vote on answers, or edit them, in the demo"


def _signals(rows: Rows) -> dict[str, int]:
    """Pairs by what they were learned from."""
    return dict(Counter(row["signal"] for row in rows.preferences))


def _write(folder: Path, name: str, rows: list[Row], masked: Counter[str]) -> None:
    """One corpus with its card, on the disk and read back."""
    folder.mkdir(parents=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / _ROWS).write_text(data, encoding="utf-8", newline="\n")
    kind, title, use = _CARDS[name]
    card = {
        "title": f"feedback: {title}",
        "kind": kind,
        "language": "ko",
        "licence": "not published; what readers wrote, with text of the documents they asked about",
        "source": "written by `korean-llm feedback export`",
        "files": {_ROWS: hash_file(folder / _ROWS)},
        "counts": {"rows": len(rows), "bytes": (folder / _ROWS).stat().st_size, "masked": masked.total()},
        "note": f"{use} Names of people are not masked; look through the rows before you give them away.",
    }
    text = yaml.safe_dump(card, allow_unicode=True, sort_keys=False, width=120)
    (folder / CARD).write_text(text, encoding="utf-8", newline="\n")
    _READERS[name]([str(folder.resolve())])
    for path in (folder / _ROWS, folder / CARD, folder):
        sync(path)


def _put(aside: Path, out: Path) -> None:
    if out.exists():
        out.rmdir()
    aside.rename(out)
    sync(out.absolute().parent)
