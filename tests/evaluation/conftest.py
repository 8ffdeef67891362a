"""A whole small run, made by the real stages and the real pipeline, once for all tests of this room."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from korean_llm.machine import Machine
from korean_llm.pipeline import Selection, open_run
from korean_llm.recipe import EvaluationSettings, load_recipe
from tests.conftest import make_model, make_tokenizer
from tests.vocabulary.tiny import korean_documents

HOSTILE = "<script>alert('말')</script> & \"따옴표\" 새로 배운 말"
PLACES = ["harbour", "orchard", "station", "library", "market", "bridge", "garden", "museum", "bakery", "school"]
ENGLISH = [
    f"The {place} of {name} opens early on {day}. Nobody there had seen {count} boats, and the {place} keeper said so "
    f"to every visitor who asked about {name} and its people before the rain began."
    for place, name in zip(PLACES * 2, ["Alder", "Birch", "Cedar", "Dogwood", "Elm"] * 4, strict=True)
    for day, count in (("Monday", "three"), ("Friday", "seventy"))
]


@dataclass(frozen=True)
class SmallRun:
    """The finished run: its folder, the evaluation's settings, and role → artifact folder of what it read."""

    folder: Path
    settings: EvaluationSettings
    inputs: dict[str, Path]

    @property
    def report(self) -> dict[str, Any]:
        """report.json as written."""
        found: dict[str, Any] = json.loads((self.folder / "evaluation/report.json").read_text(encoding="utf-8"))
        return found

    @property
    def page(self) -> str:
        """report.html as written."""
        return (self.folder / "evaluation/report.html").read_text(encoding="utf-8")


def write_rows(folder: Path, kind: str, rows: list[dict[str, str]], language: str = "ko") -> str:
    """A corpus with its card; returns its path as a recipe names it."""
    folder.mkdir(parents=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "rows.jsonl").write_bytes(data)
    card = {
        "title": "test",
        "kind": kind,
        "language": language,
        "licence": "CC0-1.0",
        "source": "written for this test",
        "files": {"rows.jsonl": hashlib.sha256(data).hexdigest()},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return str(folder)


def write_recipe(root: Path) -> Path:
    """A base, corpora and a recipe of all stages, each as small as it can be."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(root / "base")
    make_model(len(tokenizer)).save_pretrained(root / "base")
    korean = [{"id": f"k{n}", "title": "글", "text": text} for n, text in enumerate([*korean_documents(), HOSTILE * 5])]
    english = [{"id": f"e{n}", "title": "", "text": text} for n, text in enumerate(ENGLISH)]
    examples = [
        {"id": f"i{n}", "instruction": f"{n} 다음 수는?", "input": "", "output": f"{n + 1}입니다."} for n in range(16)
    ]
    questions = [
        {"id": f"q{n}", "question": question, "document_id": row["id"], "evidence": row["text"][:30], "answer": "글"}
        for n, (row, question) in enumerate(
            [*((row, row["text"].split(".")[0]) for row in korean[:3]), (korean[40], "<b>알 수 없는</b> zzz")]
        )
    ]
    prose = write_rows(root / "prose<i>ko", "documents", korean)
    recipe = {
        "name": "small",
        "base": str(root / "base"),
        "corpus": {
            "sources": {prose: 0.7, write_rows(root / "prose-en", "documents", english, "en"): 0.3},
            "clean": {"min_chars": 20},
            "near_duplicates": 1.0,
            "holdout": 0.2,
        },
        "vocabulary": {"new_tokens": 100},
        "pretraining": {
            "block_tokens": 64,
            "batch_blocks": 2,
            "phases": [
                {"train": ["new_input_rows", "new_output_rows"], "tokens": 384, "learning_rate": 5e-3},
                {"train": ["all"], "tokens": 1_024, "learning_rate": 5e-3},
            ],
            "evaluate_every_steps": 3,
        },
        "instruction": {
            "data": [write_rows(root / "pairs", "instructions", examples)],
            "max_tokens": 128,
            "batch_examples": 4,
            "learning_rate": 1e-2,
            "lora": {"rank": 4},
        },
        "export": {"formats": ["safetensors", "gguf-q8_0"]},
        "retrieval": {"documents": [prose], "questions": [write_rows(root / "questions", "questions", questions)]},
        "evaluation": {
            "holdout_bytes": 3_000,
            "sample_prompts": [HOSTILE, "오늘 아침 시장에"],
            "sample_sentences": [HOSTILE, "The library opens at nine."],
        },
    }
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Run the recipe from the base model to the report."""
    root = tmp_path_factory.mktemp("small")
    recipe = write_recipe(root)
    run = open_run(recipe, root / "run", Machine("cpu", 1))
    run.execute(Selection())
    settings = load_recipe(recipe).evaluation
    assert settings is not None
    inputs, _ = run.inputs(next(stage for stage in run.stages if stage.name == "evaluation"))
    return SmallRun(run.folder, settings, inputs)
