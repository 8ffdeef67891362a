"""The tournament: a table that adds up, a winner that follows from it, a model left as the winner starts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from korean_llm.corpus.documents import HOLDOUT, Document, read_documents
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.vocabulary import tournament as room
from korean_llm.vocabulary.rows import extend_rows
from korean_llm.vocabulary.starts import METHODS, StartContext, build_context
from korean_llm.vocabulary.tournament import Contest, Row, TournamentResult, tournament
from korean_llm.vocabulary.trial import train_rows
from tests.vocabulary.conftest import Extension
from tests.vocabulary.tiny import ENGLISH, base_model, korean_documents

MACHINE = Machine("cpu", 1)
ENGLISH_RISE = 0.085
TEXTS = {"ko": korean_documents()[:40], "en": ENGLISH}
one_kind = pytest.mark.parametrize("extension", ["smollm"], indirect=True, scope="session")


def context_of(extension: Extension) -> StartContext:
    raw = dict.fromkeys(range(extension.merges[0].id), b"x")
    return build_context(extension.base, extension.extended, raw, TEXTS, seed=3)


def held_out(extension: Extension) -> list[Document]:
    return list(read_documents(extension.corpus / HOLDOUT))


def rows_of(extension: Extension) -> int:
    return -(-len(extension.extended) // 128) * 128


def play(extension: Extension, *, tied: bool) -> tuple[LlamaForCausalLM, TournamentResult]:
    """A whole tournament. A random model's English gets worse by every new row, so more of that is let pass here."""
    model = base_model(extension.merges[0].id, tied=tied)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "MAX_ENGLISH_RISE", ENGLISH_RISE)
        result = _play(model, extension)
    return model, result


def _play(model: LlamaForCausalLM, extension: Extension) -> TournamentResult:
    return tournament(
        model,
        extension.base,
        extension.extended,
        extension.merges,
        rows_of(extension),
        context_of(extension),
        TEXTS["ko"],
        held_out(extension),
        MACHINE,
        seed=3,
    )


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def played(request: pytest.FixtureRequest, extension: Extension) -> tuple[Any, ...]:
    return extension, request.param, *play(extension, tied=request.param)


@one_kind
def test_the_base_and_every_way_stand_in_the_table(played: tuple[Any, ...]) -> None:
    extension, tied, _, result = played
    base, *rows = result.table
    assert base["inputs"] is None
    old = base_model(extension.merges[0].id, tied=tied)
    korean = [document.text for document in held_out(extension) if document.language == "ko"]
    assert sum(len(text.encode()) for text in korean) < room.HOLDOUT_BYTES["ko"]
    assert base["ko_bits_per_byte"] == round(bits_per_byte(old, extension.base, korean).per_byte, 4)
    tried = {(row["inputs"], row["outputs"]) for row in rows}
    assert len(tried) == len(rows)
    assert {outputs for _, outputs in tried} == set(METHODS)
    if tied:
        assert all(inputs == outputs for inputs, outputs in tried)
    else:
        assert {inputs for inputs, _ in tried} == set(METHODS) - {"fitted"}
    assert json.loads(json.dumps(asdict(result))) == asdict(result)


@one_kind
def test_the_winner_is_the_lowest_of_the_trained(played: tuple[Any, ...]) -> None:
    *_, result = played
    trained = [row for row in result.table[1:] if row["ko_bits_per_byte_trained"] is not None]
    assert len(trained) == room.FINALISTS
    best = min(trained, key=lambda row: row["ko_bits_per_byte_trained"])
    assert (best["inputs"], best["outputs"]) == (result.inputs, result.outputs)
    assert best["eligible"]


@one_kind
def test_finalists_are_the_best_as_they_start(played: tuple[Any, ...]) -> None:
    *_, result = played
    rows = result.table[1:]
    eligible = sorted(row["ko_bits_per_byte"] for row in rows if row["eligible"])
    finalists = sorted(row["ko_bits_per_byte"] for row in rows if row["ko_bits_per_byte_trained"] is not None)
    assert finalists == eligible[: room.FINALISTS]
    assert room.FINALISTS < len(eligible) < len(rows)


@one_kind
def test_the_model_is_left_with_the_winner_s_rows_untrained(played: tuple[Any, ...]) -> None:
    extension, tied, model, result = played
    fresh = base_model(extension.merges[0].id, tied=tied)
    extend_rows(fresh, extension.merges, rows_of(extension), result.inputs, result.outputs, context_of(extension))
    left, expected = model.state_dict(), fresh.state_dict()
    assert left.keys() == expected.keys()
    for name in expected:
        assert torch.equal(left[name], expected[name]), name


@one_kind
def test_the_same_seed_gives_the_same_table(played: tuple[Any, ...]) -> None:
    extension, tied, _, result = played
    if not tied:
        pytest.skip("one kind of head is enough here")
    assert play(extension, tied=tied)[1] == result


def contest(rows: list[Row]) -> Contest:
    return Contest(base_model(8), None, [], 8, StartContext(), {}, {"ko": 1.0, "en": 1.0}, rows)  # type: ignore[arg-type]


def test_a_way_that_costs_english_does_not_win() -> None:
    good = Row("last", "last", 2.0, 1.004, eligible=True, ko_trained=1.9)
    best = Row("first", "first", 1.0, 1.2, eligible=False)
    assert contest([best, good]).winner() is good
    assert contest([replace(best, ko_trained=1.1), good]).winner() is good


def test_where_all_cost_english_the_one_that_costs_least_is_taken() -> None:
    rows = [Row("first", "first", 1.0, 1.2, eligible=False), Row("mean", "mean", 2.0, 1.1, eligible=False)]
    assert contest(rows).winner().inputs == "mean"


@pytest.mark.parametrize(("english", "eligible"), [(1.0, True), (1.005, True), (1.0051, False), (0.9, True)])
def test_the_border_is_half_a_percent_of_english(english: float, eligible: bool) -> None:
    assert contest([])._eligible({"ko": 1.0, "en": english}) == eligible


@one_kind
def test_no_held_out_korean_is_one_clear_error(extension: Extension) -> None:
    english = [document for document in held_out(extension) if document.language == "en"]
    model = base_model(extension.merges[0].id)
    with pytest.raises(KoreanLLMError, match=r"auto measures on held-out Korean, and none is held out"):
        tournament(
            model,
            extension.base,
            extension.extended,
            extension.merges,
            rows_of(extension),
            StartContext(),
            [],
            english,
            MACHINE,
            seed=3,
        )


@pytest.mark.parametrize("tied", [True, False])
@one_kind
def test_short_training_moves_new_rows_only_and_lowers_the_loss(extension: Extension, tied: bool) -> None:
    model = base_model(extension.merges[0].id, tied=tied)
    extend_rows(model, extension.merges, rows_of(extension), "mean", "mean", StartContext())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bits = bits_per_byte(model, extension.extended, TEXTS["ko"][:5]).per_byte
    new_ids = [merge.id for merge in extension.merges]
    train_rows(model, extension.extended, new_ids, TEXTS["ko"], seed=1)
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, value in after.items():
        if "embed_tokens" in name or "lm_head" in name:
            moved = (value != before[name]).any(1).nonzero()[:, 0].tolist()
            assert moved
            assert set(moved) <= set(new_ids)
        else:
            assert torch.equal(value, before[name]), name
    assert bits_per_byte(model, extension.extended, TEXTS["ko"][:5]).per_byte < bits
