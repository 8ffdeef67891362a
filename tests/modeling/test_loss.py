"""Chunked cross-entropy against torch's own on whole logits: values, gradients, arithmetic done, memory taken."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from korean_llm.modeling.chunks import chunk_size
from korean_llm.modeling.loss import linear_cross_entropy

T, D, V, N = 61, 24, 200, 30
WHERE = [None, 0, 90, V - N, V]  # first_id of the new rows: none, at the start, inside, at the end, behind the table


def made(
    first_id: int | None, frozen: bool, ignored: bool, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Hidden states, table, new rows, labels."""
    generator = torch.Generator().manual_seed(0)

    def normal(count: int, *, learns: bool) -> torch.Tensor:
        return torch.randn(count, D, generator=generator).to(dtype).requires_grad_(learns)

    hidden, table = normal(T, learns=True), normal(V, learns=not frozen)
    rows = None if first_id is None else normal(N, learns=True)
    labels = torch.randint(0, V + (N if first_id == V else 0), (T,), generator=generator)
    if ignored:
        labels[::3] = -100
    return hidden, table, rows, labels


def merged(table: torch.Tensor, rows: torch.Tensor | None, first_id: int | None) -> torch.Tensor:
    if rows is None or first_id is None:
        return table
    return torch.cat([table[:first_id], rows, table[first_id + len(rows) :]])


def naive(
    hidden: torch.Tensor, table: torch.Tensor, rows: torch.Tensor | None, labels: torch.Tensor, first_id: int | None
) -> torch.Tensor:
    """torch's loss of whole logits, in float32 or finer as transformers computes it."""
    logits = hidden @ merged(table, rows, first_id).T
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(exact, labels, ignore_index=-100, reduction="sum")


def ours(
    hidden: torch.Tensor, table: torch.Tensor, rows: torch.Tensor | None, labels: torch.Tensor, first_id: int | None
) -> torch.Tensor:
    return linear_cross_entropy(hidden, table, labels, rows_ND=rows, first_id=first_id or 0, chunk_tokens=16)


def gradients(loss: torch.Tensor, *tensors: torch.Tensor | None) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [x for x in tensors if x is not None and x.requires_grad]))


@pytest.mark.parametrize(
    ("first_id", "frozen", "ignored"), list(itertools.product(WHERE, [True, False], [True, False]))
)
def test_equal_to_whole_logits(first_id: int | None, frozen: bool, ignored: bool) -> None:
    hidden, table, rows, labels = made(first_id, frozen, ignored)
    count = (labels != -100).sum()
    chunked = ours(hidden, table, rows, labels, first_id) / count
    whole = naive(hidden, table, rows, labels, first_id) / count
    assert chunked.dtype == torch.float32
    assert abs(chunked - whole).item() < 1e-5
    pairs = zip(gradients(chunked, hidden, table, rows), gradients(whole, hidden, table, rows), strict=True)
    for mine, torchs in pairs:
        assert mine.shape == torchs.shape and torch.allclose(mine, torchs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("first_id", "frozen"), list(itertools.product(WHERE, [True, False])))
def test_bfloat16_is_as_near_to_the_truth_as_torch(first_id: int | None, frozen: bool) -> None:
    """The truth: float64 of the same bfloat16 values."""
    hidden, table, rows, labels = made(first_id, frozen, True, torch.bfloat16)
    truth = naive(hidden.double(), table.double(), None if rows is None else rows.double(), labels, first_id)
    chunked, whole = ours(hidden, table, rows, labels, first_id), naive(hidden, table, rows, labels, first_id)
    assert chunked.dtype == torch.float32
    assert abs(chunked - whole).item() < 1e-5 * whole.item()
    exact = gradients(truth, hidden, table, rows)
    both = zip(gradients(chunked, hidden, table, rows), gradients(whole, hidden, table, rows), exact, strict=True)
    for mine, torchs, true in both:
        assert mine.dtype == torch.bfloat16
        assert (mine - true).norm() <= 1.1 * (torchs - true).norm() + 1e-3 * true.norm()


def test_many_chunks_do_not_blur_the_table_s_gradient() -> None:
    """bfloat16 sums of 64 chunks would lose bits; ours are in float32."""
    hidden, table, _, labels = made(None, False, False, torch.bfloat16)
    hidden, labels = hidden.detach().repeat(16, 1), labels.repeat(16)
    many = gradients(linear_cross_entropy(hidden, table, labels, chunk_tokens=4), table)[0]
    one = gradients(linear_cross_entropy(hidden, table, labels, chunk_tokens=len(hidden)), table)[0]
    assert (many - one).float().norm() < 2**-9 * one.float().norm()


@pytest.mark.parametrize("first_id", WHERE)
def test_gradcheck(first_id: int | None) -> None:
    hidden, table, rows, labels = made(first_id, False, True, torch.float64)
    hidden = hidden.detach()[:9].requires_grad_()
    labels = labels[:9].remainder(V)
    inputs = (hidden, table) if rows is None else (hidden, table, rows)

    def scaled(*tensors: torch.Tensor) -> torch.Tensor:
        return 0.37 * ours(*(*tensors, None)[:3], labels, first_id)

    assert torch.autograd.gradcheck(scaled, inputs, fast_mode=True)


def test_old_values_of_replaced_rows_are_not_read() -> None:
    hidden, table, rows, labels = made(90, True, False)
    before = ours(hidden, table, rows, labels, 90)
    table[90 : 90 + N] = torch.nan
    assert torch.equal(before, ours(hidden, table, rows, labels, 90))


def test_gradients_accumulate_over_micro_batches() -> None:
    hidden, table, rows, labels = made(90, False, True)
    assert rows is not None
    naive(hidden, table, rows, labels, 90).backward()
    expected = [x.grad.clone() for x in (hidden, table, rows) if x.grad is not None]
    for tensor in (hidden, table, rows):
        tensor.grad = None
    for half in (slice(0, 40), slice(40, T)):
        ours(hidden[half], table, rows, labels[half], 90).backward()
    for tensor, whole in zip((hidden, table, rows), expected, strict=True):
        assert tensor.grad is not None and torch.allclose(tensor.grad, whole, atol=1e-4)


def test_autocast_multiplies_in_bfloat16_and_returns_each_tensor_s_own_format() -> None:
    hidden, table, rows, labels = made(90, False, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chunked, whole = ours(hidden, table, rows, labels, 90), naive(hidden, table, rows, labels, 90)
    assert chunked.item() == pytest.approx(whole.item(), rel=1e-5)
    pairs = zip(gradients(chunked, hidden, table, rows), gradients(whole, hidden, table, rows), strict=True)
    for mine, torchs in pairs:
        assert mine.dtype == torch.float32
        assert (mine - torchs).norm() < 0.01 * torchs.norm()
    assert chunked.item() != ours(hidden, table, rows, labels, 90).item(), "autocast did nothing"


def test_frozen_bfloat16_table_beside_float32_rows() -> None:
    """How a GPU holds them: the rows' gradient is not rounded to bfloat16."""
    hidden, table, rows, labels = made(90, True, False)
    assert rows is not None
    mixed = gradients(ours(hidden.bfloat16(), table.bfloat16(), rows, labels, 90), rows)[0]
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, mixed.bfloat16().float())
    exact = gradients(naive(hidden, table, rows, labels, 90), rows)[0]
    assert (mixed - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("reentrant", [False, True])
def test_under_activation_checkpointing(reentrant: bool) -> None:
    hidden, table, rows, labels = made(90, False, True)
    plain = gradients(ours(hidden * 2, table, rows, labels, 90), hidden, table, rows)

    def part(x: torch.Tensor) -> torch.Tensor:
        return ours(x * 2, table, rows, labels, 90)

    loss: Any = checkpoint(part, hidden, use_reentrant=reentrant)
    loss.backward()
    assert rows is not None
    for tensor, expected in zip((hidden, table, rows), plain, strict=True):
        assert tensor.grad is not None and torch.equal(tensor.grad, expected)


def test_backward_twice_over_a_retained_graph() -> None:
    hidden, table, _, labels = made(None, False, True)
    loss = ours(hidden, table, None, labels, None)
    first = torch.autograd.grad(loss, (hidden, table), retain_graph=True)
    again = torch.autograd.grad(3 * loss, (hidden, table))
    for one, three in zip(first, again, strict=True):
        assert torch.allclose(3 * one, three)


def test_nothing_to_predict_is_zero_with_zero_gradients() -> None:
    hidden, table, rows, labels = made(90, False, False)
    loss = ours(hidden, table, rows, torch.full_like(labels, -100), 90)
    assert loss.item() == 0.0
    assert all(not gradient.any() for gradient in gradients(loss, hidden, table, rows))


def flops(hidden: torch.Tensor, table: torch.Tensor, rows: torch.Tensor | None, labels: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        loss = ours(hidden, table, rows, labels, None if rows is None else 90)
        if loss.requires_grad:
            loss.backward()
    return counter.get_total_flops()


def test_only_the_products_that_something_learns_from_are_taken() -> None:
    hidden, table, rows, labels = made(90, False, False)
    product = 2 * T * D * V
    assert flops(hidden, table, None, labels) == 3 * product
    assert flops(hidden, table.detach(), None, labels) == 2 * product
    assert flops(hidden, table.detach(), rows, labels) == 2 * product + 2 * T * D * N
    assert flops(hidden.detach(), table.detach(), rows, labels) == product + 2 * T * D * N
    assert flops(hidden.detach(), table.detach(), None, labels) == product
    labels[::2] = -100
    kept = int((labels != -100).sum())
    assert flops(hidden, table, None, labels) == 3 * 2 * kept * D * V, "ignored tokens cost nothing"


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() // tensor.itemsize > 0:
                self.elements = max(self.elements, tensor.numel())
        return out


def test_neither_whole_logits_nor_a_merged_table_are_ever_made() -> None:
    hidden, table, rows, labels = (torch.randn(400, 8), torch.randn(1_000, 8), torch.randn(100, 8), torch.arange(400))
    hidden.requires_grad_()
    rows.requires_grad_()
    with Largest() as chunked:
        linear_cross_entropy(hidden, table, labels, rows_ND=rows, first_id=900, chunk_tokens=5).backward()
    with Largest() as whole:
        naive(hidden, table, rows, labels, 900).backward()
    assert whole.elements == 400 * 1_000
    views_of_the_table = 900 * 8
    assert chunked.elements == views_of_the_table
    assert rows.grad is not None and rows.grad.shape == (100, 8) and table.grad is None


def test_chunks_are_of_about_equal_size_and_bounded() -> None:
    for tokens, vocabulary in itertools.product([1, 7, 448, 1_000, 16_384], [300, 32_000, 150_000, 10**8]):
        size = chunk_size(tokens, vocabulary)
        assert 1 <= size <= tokens
        assert size * vocabulary <= 2**26 or size <= 16
        last = tokens % size or size
        assert size - last < -(-tokens // size), "the last chunk is hardly shorter"
    assert chunk_size(16_384, 150_000) == 443
