"""Rows of new tokens beside a frozen table: the same function, and old rows that never move."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from korean_llm.modeling.rows import RowEmbedding, RowHead, fold, separate
from korean_llm.modeling.trainable import merge, prepare, select, tables
from korean_llm.recipe import LoraSettings
from tests.conftest import make_model

OLD, NEW, PADDING = 90, 10, 28
NEW_IDS = list(range(OLD, OLD + NEW))


@pytest.mark.parametrize("tied", [True, False])
def test_separated_rows_give_the_model_its_gradients(tied: bool) -> None:
    """The gradient of new_rows is the new rows' part of a whole table's gradient."""
    plain, own = (make_model(OLD + NEW + PADDING, tied=tied) for _ in range(2))
    separate(own, NEW_IDS)
    ids = torch.randint(0, OLD + NEW, (2, 40), generator=torch.Generator().manual_seed(0))
    losses = [model(input_ids=ids, labels=ids).loss for model in (plain, own)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-6)
    for loss in losses:
        loss.backward()
    for whole, module in (
        (plain.get_input_embeddings(), own.get_input_embeddings()),
        (plain.get_output_embeddings(), own.get_output_embeddings()),
    ):
        assert torch.allclose(whole.weight.grad[OLD : OLD + NEW], module.new_rows.grad, atol=1e-7)
        assert torch.allclose(whole.weight.grad[:OLD], module.weight.grad[:OLD], atol=1e-7)
        assert not module.weight.grad[OLD : OLD + NEW].any()


@pytest.mark.parametrize("tied", [True, False])
def test_folding_gives_the_model_back(tied: bool) -> None:
    model, before = make_model(OLD + NEW, tied=tied), make_model(OLD + NEW, tied=tied)
    separate(model, NEW_IDS)
    assert isinstance(model.get_input_embeddings(), RowEmbedding) and isinstance(model.get_output_embeddings(), RowHead)
    assert sum(name.endswith("new_rows") for name, _ in model.named_parameters()) == (1 if tied else 2)
    fold(model)
    assert type(model.get_input_embeddings()) is nn.Embedding and type(model.get_output_embeddings()) is nn.Linear
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    for (name, one), (_, other) in zip(before.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_ids_with_a_gap_are_refused() -> None:
    with pytest.raises(ValueError, match="follow each other"):
        separate(make_model(OLD + NEW), [90, 91, 95])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_a_thousand_steps_move_no_old_row(tied: bool, dtype: torch.dtype) -> None:
    """AdamW with weight decay 0.1, LoRA too: max |Δ| over old rows is 0.0; states are those of the new rows alone."""
    model = make_model(OLD + NEW, tied=tied).to(dtype)
    was = [module.weight.detach().clone() for module in (model.get_input_embeddings(), model.get_output_embeddings())]
    groups = ["new_input_rows", "new_output_rows", "lora"]
    table = tables(model)
    prepared = prepare(model, groups, NEW_IDS, LoraSettings(rank=2, alpha=4, target_modules=r".*\.q_proj"))
    select(prepared, groups, table)
    optimizer = torch.optim.AdamW([p for p in prepared.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1_000):
        ids = torch.randint(0, OLD + NEW, (1, 6), generator=generator)
        prepared(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    rows = [p for name, p in prepared.named_parameters() if name.endswith("new_rows")]
    state = sum(optimizer.state[p][key].nbytes for p in rows for key in ("exp_avg", "exp_avg_sq"))
    assert state <= 1.05 * len(rows) * NEW * 32 * 8
    merged = merge(prepared)
    now = [module.weight.detach() for module in (merged.get_input_embeddings(), merged.get_output_embeddings())]
    for before, after in zip(was, now, strict=True):
        assert (after[:OLD].float() - before[:OLD].float()).abs().max().item() == 0.0
        assert (after[OLD:].float() - before[OLD:].float()).abs().min(1).values.max() > 0
