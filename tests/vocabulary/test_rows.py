"""Rows: old ones bit-equal, new ones where they should start, tied and untied models each in their own way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from korean_llm.errors import KoreanLLMError
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.rows import extend_rows
from korean_llm.vocabulary.starts import METHODS, Start, StartContext
from tests.vocabulary.tiny import base_model

OLD, ROWS = 40, 48
BASE_IDS = [[1, 2, 3], [7], [39, 0]]
MERGES = [
    Merge(OLD + i, (), bytes([0xEA, 0xB0, 0x80 + i]), ids, count=9 - i, tokens_left=0) for i, ids in enumerate(BASE_IDS)
]
CONTEXT = StartContext(
    raw={id: bytes([65 + id]) * (1 + id % 3) for id in range(OLD)},
    old_counts={id: 1 + id * id for id in range(OLD)},
    documents=[[*range(OLD), 40, 5, 41, 6, 42, 7, 40, 8]] * 3,
    windows=[[0, 40, 5, 41, 42, 6, 40], [0, 7, 8, 40, 41, 9, 10]],
    seed=5,
)


def tables(model: LlamaForCausalLM) -> tuple[torch.Tensor, torch.Tensor]:
    return model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("start", METHODS)
def test_old_rows_stay_bit_equal_and_padding_rows_get_the_mean(tied: bool, start: Start) -> None:
    model = base_model(OLD, tied=tied)
    before = [table.clone() for table in tables(model)]
    extend_rows(model, MERGES, ROWS, start, start, CONTEXT)
    for old, new in zip(before, tables(model), strict=True):
        assert new.shape == (ROWS, 16)
        assert torch.equal(new[:OLD], old)
        assert torch.equal(new[OLD + 3 :], old.mean(0).expand(ROWS - OLD - 3, -1))
        assert torch.isfinite(new).all()
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    assert model.config.vocab_size == ROWS


def test_untied_tables_start_each_in_its_own_way_from_its_own_rows() -> None:
    model = base_model(OLD, tied=False)
    old_input, old_head = (table.clone() for table in tables(model))
    extend_rows(model, MERGES, ROWS, "last", "first", CONTEXT)
    new_input, new_head = tables(model)
    assert torch.equal(new_input[OLD : OLD + 3], old_input[[3, 7, 0]])
    assert torch.equal(new_head[OLD : OLD + 3], old_head[[1, 7, 39]])


def test_fitting_moves_the_head_of_an_untied_model_only() -> None:
    plain, fitted = base_model(OLD, tied=False), base_model(OLD, tied=False)
    extend_rows(plain, MERGES, ROWS, "mean", "mean", CONTEXT)
    extend_rows(fitted, MERGES, ROWS, "mean", "fitted", CONTEXT)
    assert torch.equal(tables(plain)[0], tables(fitted)[0])
    assert not torch.equal(tables(plain)[1], tables(fitted)[1])


def test_one_table_cannot_start_in_two_ways() -> None:
    with pytest.raises(KoreanLLMError, match=r"'mean' for input and 'first' for output.*one table"):
        extend_rows(base_model(OLD), MERGES, ROWS, "mean", "first", CONTEXT)


def test_fitting_without_text_is_one_clear_error() -> None:
    with pytest.raises(KoreanLLMError, match="fitted needs Korean training text"):
        extend_rows(base_model(OLD), MERGES, ROWS, "fitted", "fitted", StartContext())


@pytest.mark.parametrize("tied", [True, False])
def test_tying_survives_saving(tied: bool, tmp_path: Path) -> None:
    model = base_model(OLD, tied=tied)
    extend_rows(model, MERGES, ROWS, "mean", "mean", CONTEXT)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    one_table = loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
    assert one_table == tied
    for before, after in zip(tables(model), tables(loaded), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_old_tokens_on_old_text_do_not_change(tied: bool) -> None:
    model = base_model(OLD, tied=tied)
    ids = torch.arange(OLD)[None]
    before = model(ids).logits
    extend_rows(model, MERGES, ROWS, "fitted", "fitted", CONTEXT)
    torch.testing.assert_close(model(ids).logits[..., :OLD], before, rtol=0, atol=1e-6)


def test_padding_rows_of_the_base_are_used_first_and_the_others_left_alone() -> None:
    model = base_model(OLD + 8)
    padding = tables(model)[0][OLD + 3 :].clone()
    extend_rows(model, MERGES, OLD + 8, "last", "last", CONTEXT)
    table = tables(model)[0]
    assert table.shape[0] == model.config.vocab_size == OLD + 8
    assert torch.equal(table[OLD : OLD + 3], table[[3, 7, 0]])
    assert torch.equal(table[OLD + 3 :], padding)


def test_number_format_is_kept_and_means_are_taken_in_float32() -> None:
    model = base_model(OLD).to(torch.bfloat16)
    extend_rows(model, MERGES, ROWS, "mean", "mean", CONTEXT)
    table = tables(model)[0]
    assert table.dtype == torch.bfloat16
    torch.testing.assert_close(table[OLD], table[1:4].float().mean(0).to(torch.bfloat16), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("start", METHODS)
def test_the_same_seed_gives_the_same_rows_whatever_was_drawn_before(start: Start) -> None:
    found = []
    for seed in (1, 2):
        model = base_model(OLD)
        torch.manual_seed(seed)
        extend_rows(model, MERGES, ROWS, start, start, CONTEXT)
        found.append(tables(model)[0].clone())
    assert torch.equal(*found)


def test_starting_again_forgets_the_start_before() -> None:
    once, twice = base_model(OLD), base_model(OLD)
    extend_rows(once, MERGES, ROWS, "fitted", "fitted", CONTEXT)
    extend_rows(twice, MERGES, ROWS, "normal", "normal", CONTEXT)
    extend_rows(twice, MERGES, ROWS, "fitted", "fitted", CONTEXT)
    assert torch.equal(tables(once)[0], tables(twice)[0])
