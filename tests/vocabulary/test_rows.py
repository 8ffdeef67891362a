"""Rows: old ones bit-equal, new ones where they should start, tied and untied models each in their own way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from korean_llm.vocabulary.rows import extend_rows, starting_rows
from tests.vocabulary.tiny import base_model

OLD = 40
BASE_IDS = [[1, 2, 3], [7], [39, 0]]


def tables(model: LlamaForCausalLM) -> tuple[torch.Tensor, torch.Tensor]:
    return model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()


@pytest.mark.parametrize("tied", [True, False])
def test_old_rows_stay_and_new_rows_are_means_of_their_own_table(tied: bool) -> None:
    model = base_model(OLD, tied=tied)
    old_input, old_head = (table.clone() for table in tables(model))
    extend_rows(model, BASE_IDS, OLD)
    for old, new in zip((old_input, old_head), tables(model), strict=True):
        assert new.shape == (OLD + 3, 16)
        assert torch.equal(new[:OLD], old)
        expected = torch.stack([old[ids].mean(0) for ids in BASE_IDS])
        torch.testing.assert_close(new[OLD:], expected, rtol=0, atol=1e-7)
    assert torch.equal(old_input, old_head) == tied
    assert model.config.vocab_size == OLD + 3


@pytest.mark.parametrize("tied", [True, False])
def test_tying_survives_saving(tied: bool, tmp_path: Path) -> None:
    model = base_model(OLD, tied=tied)
    extend_rows(model, BASE_IDS, OLD)
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
    extend_rows(model, BASE_IDS, OLD)
    torch.testing.assert_close(model(ids).logits[..., :OLD], before, rtol=0, atol=1e-6)


def test_padding_rows_behind_the_vocabulary_are_used_first() -> None:
    model = base_model(OLD + 8)
    padding = tables(model)[0][OLD + 3 :].clone()
    extend_rows(model, BASE_IDS, OLD)
    table = tables(model)[0]
    assert table.shape[0] == model.config.vocab_size == OLD + 8
    assert torch.equal(table[OLD + 1], table[7])
    assert torch.equal(table[OLD + 3 :], padding)


def test_number_format_is_kept() -> None:
    model = base_model(OLD).to(torch.bfloat16)
    extend_rows(model, BASE_IDS, OLD)
    table = tables(model)[0]
    assert table.dtype == torch.bfloat16
    assert torch.equal(table[OLD], table[1:4].float().mean(0).to(torch.bfloat16))


def test_global_mean_leaves_padding_out() -> None:
    table = torch.arange(12.0).reshape(6, 2)
    rows = starting_rows(table, BASE_IDS, 4, "global_mean")
    assert torch.equal(rows, torch.tensor([[3.0, 4.0]] * 3))


def test_nothing_is_drawn_at_random() -> None:
    found = []
    for seed in (1, 2):
        model = base_model(OLD)
        torch.manual_seed(seed)
        extend_rows(model, BASE_IDS, OLD)
        found.append(tables(model)[0].clone())
    assert torch.equal(*found)
