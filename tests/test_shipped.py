"""What is shipped: recipes that check, cards that tell the truth, texts that are what their cards say."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from korean_llm.artifact import hash_file
from korean_llm.cli import main
from korean_llm.corpus.card import FIELDS, list_cards, load_card
from korean_llm.corpus.clean import normalise, reason_to_drop
from korean_llm.corpus.duplicates import Duplicates, text_hash
from korean_llm.corpus.personal import mask
from korean_llm.corpus.read import read_rows
from korean_llm.hangul import hangul_ratio
from korean_llm.machine import Machine
from korean_llm.pipeline import open_run
from korean_llm.preflight import check_corpora, check_recipe
from korean_llm.recipe import CleanSettings, load_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
CARDS = sorted(path.parent.name for path in (ROOT / "corpora").glob("*/card.yaml"))
OURS = sorted({path.parent.name for path in (ROOT / "corpora").glob("*/*.jsonl")})
KOREAN, ENGLISH = [name for name in OURS if name.endswith("-ko")], ["prose-en"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without runs or corpora, and no connection: a socket that connects fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("something shipped asked for a connection")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def raw_rows(name: str) -> list[dict[str, Any]]:
    """The rows as they lie in the files, with the fields that readers leave out."""
    files = load_card(name).model.files or {}
    text = "".join((ROOT / "corpora" / name / file).read_text(encoding="utf-8") for file in files)
    return [json.loads(line) for line in text.split("\n") if line]


def prose(row: dict[str, Any]) -> str:
    """All text of a row but its ids."""
    return "\n".join(value for key, value in row.items() if key not in ("id", "document_id"))


def test_there_are_seven_recipes_and_twelve_corpora() -> None:
    names = ["llama2-7b", "mistral-7b", "mistral-7b-stages", "olmo2-7b", "olmo2-7b-qlora", "quickstart"]
    names.append("smollm2-preference")
    assert sorted(path.stem for path in RECIPES) == names
    assert len(CARDS) == 12
    assert list_cards() == CARDS
    assert OURS == ["answers-ko", "instructions-ko", "preferences-ko", "prose-en", "prose-ko", "questions-ko"]


# ---- recipes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_parses_and_its_corpora_fit(path: Path) -> None:
    recipe = load_recipe(path)
    check_corpora(recipe)
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line != line.rstrip() or "\t" in line] == []
    assert len(text.splitlines()) <= 80
    assert re.search(rf"^#   korean-llm run +recipes/{re.escape(path.name)} ", text, flags=re.MULTILINE)


def test_no_two_recipes_write_into_one_folder() -> None:
    names = [load_recipe(path).name for path in RECIPES]
    assert len(set(names)) == len(names)


CHECKS = {
    "llama2-7b": ("llama2-7b-korean: meta-llama/Llama-2-7b-hf, 6.74 B parameters", 80, 2_000_000_000),
    "mistral-7b": ("mistral-7b-korean: mistralai/Mistral-7B-v0.1, 7.24 B parameters", 80, 2_000_000_000),
    "mistral-7b-stages": (
        "mistral-7b-stages-korean: mistralai/Mistral-7B-v0.1, 7.24 B parameters",
        80,
        2_000_000_000,
    ),
    "olmo2-7b": ("olmo2-7b-korean: allenai/OLMo-2-1124-7B, 7.30 B parameters", 80, 2_000_000_000),
    "olmo2-7b-qlora": ("olmo2-7b-korean-qlora: allenai/OLMo-2-1124-7B, 7.30 B parameters", 24, 200_000_000),
    "quickstart": ("quickstart: HuggingFaceTB/SmolLM2-135M-Instruct, 0.13 B parameters", 24, 28_672),
}
WHOLE = [path for path in RECIPES if path.stem in CHECKS]
"""Recipes of the whole chain, from the corpus to the report."""


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_check_answers_offline(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line names the model; both trainings fit the card that the recipe's own header names."""
    first, gpu, _ = CHECKS[path.stem]
    monkeypatch.setattr(sys, "argv", ["korean-llm", "check", str(path), "--gpu-memory", str(gpu)])
    with pytest.raises(SystemExit) as end:
        main()
    out, errors = capsys.readouterr()
    assert (end.value.code or 0) == 0, errors
    lines = out.splitlines()
    assert lines[0] == first
    assert (
        lines[1] == "stages: base → corpus → vocabulary → pretraining → instruction → export → retrieval → evaluation"
    )
    assert f"pretraining: fits into {gpu} GiB" in lines
    assert f"instruction: fits into {gpu} GiB" in lines
    assert "Traceback" not in errors


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_figures_of_a_header_are_those_of_check(path: Path) -> None:
    """Tokens of a step stand in the comment; tokens in all are within one step a phase of what is said."""
    head = path.read_text(encoding="utf-8")
    report = check_recipe(path, CHECKS[path.stem][1])["pretraining"]
    assert f"{report['tokens_per_step']:,} tokens" in head
    assert abs(report["tokens"] - CHECKS[path.stem][2]) <= report["tokens_per_step"]
    if path.stem != "quickstart":
        said = "2.0 B tokens" if CHECKS[path.stem][2] == 2_000_000_000 else "200 M tokens"
        assert f"Pretraining reads {said}" in head
        assert f"one {CHECKS[path.stem][1]} GB GPU" in head


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_every_stage_of_a_recipe_can_be_opened(path: Path, elsewhere: Path) -> None:
    run = open_run(path, None, Machine())
    assert run.names == [
        "base",
        "corpus",
        "vocabulary",
        "pretraining",
        "instruction",
        "export",
        "retrieval",
        "evaluation",
    ]
    assert list(elsewhere.iterdir()) == [], "looking writes nothing"


def test_the_preference_recipe_has_every_section_of_tuning() -> None:
    path = ROOT / "recipes" / "smollm2-preference.yaml"
    report = check_recipe(path, 24)
    tuning = ["instruction", "reward", "rejection_sampling", "preference", "online"]
    assert report["stages"] == ["base", *tuning, "export", "evaluation"]
    assert set(report["gpu_memory_gib"]) >= {"instruction"}


# ---- cards


@pytest.mark.parametrize("name", CARDS)
def test_a_card_says_whose_it_is(name: str) -> None:
    model = load_card(name).model
    assert len(model.title) > 3 and len(model.licence) > 3 and len(model.source) > 10
    assert model.language == ("en" if name.endswith("-en") else "ko")
    assert bool(model.files) == (name in OURS), "what is ours lies beside its card"
    if model.files:
        assert model.licence == "CC0-1.0"


@pytest.mark.parametrize("name", OURS)
def test_hashes_and_counts_of_a_card_are_true(name: str) -> None:
    card = load_card(name)
    files = [ROOT / "corpora" / name / file for file in card.model.files or {}]
    assert {path.name for path in (ROOT / "corpora" / name).iterdir()} == {"card.yaml", *(path.name for path in files)}
    assert {path.name: hash_file(path) for path in files} == card.model.files
    assert card.model.counts == {
        "rows": len(list(read_rows(card))),
        "bytes": sum(path.stat().st_size for path in files),
    }


@pytest.mark.parametrize("name", OURS)
def test_rows_have_their_fields_and_ids_of_their_own(name: str) -> None:
    rows = raw_rows(name)
    fields = set(FIELDS[load_card(name).model.kind])
    extra = {"documents": {"register"}, "preferences": {"reason"}}.get(load_card(name).model.kind, set())
    for row in rows:
        assert row.keys() == fields | extra, row["id"]
        empty = {key for key, value in row.items() if not value.strip()}
        assert empty in ({"document_id", "evidence", "answer"}, {"input"}, set()), row["id"]
    repeated = [id for id, count in Counter(row["id"] for row in rows).items() if count > 1]
    assert repeated == []


def test_ids_are_unique_over_all_corpora() -> None:
    counts = Counter(row["id"] for name in OURS for row in raw_rows(name))
    assert [id for id, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", OURS)
def test_texts_are_in_the_language_that_is_said(name: str) -> None:
    ratios = {row["id"]: hangul_ratio(prose(row)) for row in raw_rows(name)}
    if name in ENGLISH:
        assert max(ratios.values()) == 0
    else:
        low = {
            id: ratio for id, ratio in ratios.items() if ratio < (0.7 if name in ("prose-ko", "questions-ko") else 0.3)
        }
        assert low == {}


@pytest.mark.parametrize("name", OURS)
def test_no_text_holds_hidden_characters_or_a_persons_data(name: str) -> None:
    for row in raw_rows(name):
        for key, value in row.items():
            assert "".join(normalise(value).split()) == "".join(value.split()), f"{row['id']}.{key}"
            assert mask(value)[1] == Counter(), f"{row['id']}.{key}"


@pytest.mark.parametrize("name", ["prose-ko", "prose-en"])
def test_every_document_passes_the_rules_that_others_must_pass(name: str) -> None:
    dropped = {}
    duplicates = Duplicates(0.8, seed=17)
    for row in read_rows(load_card(name)):
        text = normalise(row["text"])
        reason = reason_to_drop(text, load_card(name).model.language, CleanSettings(min_chars=200))
        found = reason or duplicates.find(row["id"], text)
        if found:
            dropped[row["id"]] = found
    assert dropped == {}


# ---- how much there is


def test_there_is_enough_korean_prose_in_enough_registers() -> None:
    rows = raw_rows("prose-ko")
    assert sum(len(row["text"].encode()) for row in rows) >= 100_000
    registers = Counter(row["register"] for row in rows)
    assert len([register for register, count in registers.items() if count >= 3]) >= 6


def test_there_are_enough_instructions_that_differ() -> None:
    rows = raw_rows("instructions-ko")
    assert len(rows) >= 300
    assert len({text_hash(row["instruction"] + "\n" + row["input"]) for row in rows}) == len(rows)
    assert len({text_hash(row["output"]) for row in rows}) >= 0.95 * len(rows)


def test_there_are_enough_preferences_and_the_two_answers_differ() -> None:
    rows = raw_rows("preferences-ko")
    assert len(rows) >= 60
    assert len({text_hash(row["prompt"]) for row in rows}) == len(rows)
    assert [row["id"] for row in rows if text_hash(row["chosen"]) == text_hash(row["rejected"])] == []


def test_there_are_enough_questions_and_each_is_asked_once() -> None:
    rows = raw_rows("questions-ko")
    assert len(rows) >= 80
    rows += raw_rows("answers-ko")
    assert len({text_hash(row["question"]) for row in rows}) == len(rows)


def test_there_are_enough_questions_with_and_without_an_answer() -> None:
    rows = raw_rows("answers-ko")
    answered = [row for row in rows if row["evidence"]]
    near = [row for row in rows if row["id"].startswith("near-")]
    assert len(answered) >= 120 and len({row["document_id"] for row in answered}) >= 60
    assert len(rows) - len(answered) >= 200 and len(near) >= (len(rows) - len(answered)) / 2
    assert [row["id"] for row in near if row["evidence"]] == []


def test_evidence_stands_once_in_its_document_and_in_no_other() -> None:
    texts = {row["id"]: row["text"] for row in raw_rows("prose-ko")}
    wrong = []
    for row in [*raw_rows("questions-ko"), *(row for row in raw_rows("answers-ko") if row["evidence"])]:
        found = {id: text.count(row["evidence"]) for id, text in texts.items() if row["evidence"] in text}
        if found != {row["document_id"]: 1}:
            wrong.append((row["id"], row["document_id"], found))
    assert wrong == []


def test_questions_ask_many_documents() -> None:
    assert len({row["document_id"] for row in raw_rows("questions-ko")}) >= 40
