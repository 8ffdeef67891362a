"""Cross-entropy over a large vocabulary without the logits of all tokens in memory.

The head's matrix product, the softmax and both gradients are taken chunk by chunk of tokens in the forward pass, as
in Liger Kernel (Hsu et al. 2024, arXiv 2410.10989) and in the spirit of Cut Your Losses (Wijmans et al. 2024, arXiv
2411.09009); the backward pass only multiplies by the incoming gradient. Rows of new tokens lie beside a frozen table:
then the gradient over the old rows, a third of the arithmetic, is never computed.

Why not what exists (torch 2.13, TRL 1.16, Liger 0.6): `torch.nn.functional.linear_cross_entropy` returns a bfloat16
loss for bfloat16 inputs, adds chunks of dW in bfloat16 and knows one whole table; TRL computes every logit a second
time in the backward pass and knows one table; Liger needs Triton.

Axes: B batch, T tokens, D hidden, V vocabulary, N new rows, C tokens of a chunk, W buffer columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from korean_llm.modeling.chunks import chunk_size

IGNORED = -100
_ALIGNED = 64  # columns; parts of the vocabulary start where tensor cores like them to


def linear_cross_entropy(
    hidden_TD: torch.Tensor,
    table_VD: torch.Tensor,
    labels_T: torch.Tensor,
    *,
    rows_ND: torch.Tensor | None = None,
    first_id: int = 0,
    chunk_tokens: int | None = None,
) -> torch.Tensor:
    """Sum over tokens of the cross-entropy of softmax(hidden · tableᵀ); a float32 scalar (float64 of float64).

    hidden_TD: last hidden states. table_VD: the head's table; gradient flows to it where it requires one. labels_T:
    ids; tokens labelled -100 are dropped before anything is computed. rows_ND: rows that stand in for
    first_id … first_id + N of the table (which may end at first_id); only they receive those rows' gradient.
    chunk_tokens: tokens at a time, chosen by chunk_size() unless given.

    Matrix products are in hidden's number format, or autocast's; softmax, the loss and the table's gradient in float32.
    Divide by a count for the mean. Peak memory: one chunk of logits, the gradient of hidden, that of the table
    where it trains.
    """
    device = hidden_TD.device.type
    if torch.is_autocast_enabled(device):
        hidden_TD = hidden_TD.to(torch.get_autocast_dtype(device))
    kept = (labels_T != IGNORED).nonzero().squeeze(1)
    if len(kept) < len(labels_T):
        hidden_TD, labels_T = hidden_TD[kept], labels_T[kept]
    num_rows = 0 if rows_ND is None else len(rows_ND)
    vocabulary = max(len(table_VD), first_id + num_rows)
    chunk = chunk_tokens or chunk_size(len(hidden_TD), vocabulary)
    loss: torch.Tensor = _LinearCrossEntropy.apply(
        hidden_TD, table_VD, rows_ND, labels_T, first_id, chunk, torch.is_grad_enabled()
    )
    return loss


@dataclass
class _Part:
    """Neighbouring ids whose weights lie together, and where their logits lie in a chunk's buffer."""

    first_id: int
    column: int
    weight: torch.Tensor  # (ids, D), in the number format of the matrix products
    gradient: torch.Tensor | None  # (ids, D), accumulated in float32

    @property
    def columns(self) -> slice:
        return slice(self.column, self.column + len(self.weight))


class _Vocabulary:
    """The whole vocabulary as up to three parts: rows of the table, new rows, rows of the table behind them."""

    def __init__(self, table_VD: torch.Tensor, rows_ND: torch.Tensor | None, first_id: int, like: torch.Tensor) -> None:
        """like: a tensor in the number format of the matrix products."""
        self.like, self.width, self.parts = like, 0, list[_Part]()
        self.table_gradient: torch.Tensor | None = None
        self.rows_gradient: torch.Tensor | None = None
        self.table_VD, self.rows_ND, self.first_id = table_VD, rows_ND, first_id

    def lay_out(self, table_learns: bool, rows_learn: bool) -> None:
        """Set up the parts, with zeros for the gradients that are wanted."""
        table, rows, first = self.table_VD, self.rows_ND, self.first_id
        self.table_gradient = _zeros(table) if table_learns else None
        if rows is None:
            self._add(0, table, self.table_gradient)
            return
        self.rows_gradient = _zeros(rows) if rows_learn else None
        behind, gradient = first + len(rows), self.table_gradient
        self._add(0, table[:first], None if gradient is None else gradient[:first])
        self._add(first, rows, self.rows_gradient)
        self._add(behind, table[behind:], None if gradient is None else gradient[behind:])

    def _add(self, first_id: int, weight: torch.Tensor, gradient: torch.Tensor | None) -> None:
        if len(weight):
            self.parts.append(_Part(first_id, self.width, weight.to(self.like.dtype), gradient))
            self.width += -(-len(weight) // _ALIGNED) * _ALIGNED

    def columns_of(self, labels_T: torch.Tensor) -> torch.Tensor:
        """Where the labels' logits lie in the buffer."""
        columns = labels_T.clone()
        for part in self.parts:
            inside = (labels_T >= part.first_id) & (labels_T < part.first_id + len(part.weight))
            columns[inside] += part.column - part.first_id
        return columns

    def logits(self, hidden_CD: torch.Tensor, out_CW: torch.Tensor) -> None:
        """hidden · weightᵀ of every part; minus infinity in the columns between parts."""
        ends = [part.column for part in self.parts[1:]] + [self.width]
        for part, end in zip(self.parts, ends, strict=True):
            torch.mm(hidden_CD, part.weight.T, out=out_CW[:, part.columns])
            out_CW[:, part.columns.stop : end] = -torch.inf

    def hidden_gradient(self, delta_CW: torch.Tensor, out_CD: torch.Tensor) -> None:
        """delta · weight, summed over parts."""
        for number, part in enumerate(self.parts):
            torch.addmm(out_CD, delta_CW[:, part.columns], part.weight, beta=min(number, 1), out=out_CD)

    def add_gradients(self, delta_CW: torch.Tensor, hidden_CD: torch.Tensor) -> None:
        """gradient += deltaᵀ · hidden, for the parts that learn."""
        for part in self.parts:
            if part.gradient is not None:
                _add_product(part.gradient, delta_CW[:, part.columns].T, hidden_CD)


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _zeros(weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros(weight.shape, dtype=_exact(weight.dtype), device=weight.device)


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """total += left · right without rounding the product to a shorter format first."""
    if left.dtype == total.dtype:
        torch.addmm(total, left, right, out=total)
    elif total.is_cuda:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        torch.addmm(total, left.to(total.dtype), right.to(total.dtype), out=total)


def _loss_and_delta(scores_CW: torch.Tensor, columns_C: torch.Tensor) -> torch.Tensor:
    """Summed loss of a chunk; its logits are overwritten with their gradient, softmax − one-hot."""
    columns_C1 = columns_C[:, None]
    scores_CW.sub_(scores_CW.amax(1, keepdim=True))
    right_C = scores_CW.gather(1, columns_C1).squeeze(1)
    sums_C = scores_CW.exp_().sum(1)
    scores_CW.div_(sums_C[:, None])
    scores_CW.scatter_add_(1, columns_C1, scores_CW.new_full(columns_C1.shape, -1.0))
    return (sums_C.log() - right_C).sum()


def _all_chunks(
    vocabulary: _Vocabulary,
    hidden_TD: torch.Tensor,
    labels_T: torch.Tensor,
    gradient_TD: torch.Tensor | None,
    chunk: int,
) -> torch.Tensor:
    """The loss; fills gradient_TD, where there is one, and adds to the vocabulary's gradients."""
    columns_T, exact = vocabulary.columns_of(labels_T), _exact(hidden_TD.dtype)
    loss = hidden_TD.new_zeros((), dtype=exact)
    # Buffers for all chunks: one that a loop makes anew stands beside its predecessor for a moment.
    logits_buffer_CW = hidden_TD.new_empty((min(chunk, len(hidden_TD)), vocabulary.width))
    short = logits_buffer_CW.dtype != exact
    scores_buffer_CW = torch.empty_like(logits_buffer_CW, dtype=exact) if short else logits_buffer_CW
    for start in range(0, len(hidden_TD), chunk):
        hidden_CD = hidden_TD[start : start + chunk]
        logits_CW, scores_CW = logits_buffer_CW[: len(hidden_CD)], scores_buffer_CW[: len(hidden_CD)]
        vocabulary.logits(hidden_CD, logits_CW)
        if short:
            scores_CW.copy_(logits_CW)
        loss += _loss_and_delta(scores_CW, columns_T[start : start + chunk])
        if short:
            logits_CW.copy_(scores_CW)
        if gradient_TD is not None:
            vocabulary.hidden_gradient(logits_CW, gradient_TD[start : start + chunk])
        vocabulary.add_gradients(logits_CW, hidden_CD)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass over chunks of tokens."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_TD: torch.Tensor,
        table_VD: torch.Tensor,
        rows_ND: torch.Tensor | None,
        labels_T: torch.Tensor,
        first_id: int,
        chunk: int,
        learning: bool,
    ) -> torch.Tensor:
        """learning: whether gradients are recorded at all; inside this function torch never records any."""
        hidden_learns, table_learns, rows_learn = (learning and needed for needed in ctx.needs_input_grad[:3])
        vocabulary = _Vocabulary(table_VD, rows_ND, first_id, hidden_TD)
        vocabulary.lay_out(table_learns, rows_learn)
        gradient_TD = torch.empty_like(hidden_TD) if hidden_learns else None
        with torch.autocast(hidden_TD.device.type, enabled=False):
            loss = _all_chunks(vocabulary, hidden_TD, labels_T, gradient_TD, chunk)
        ctx.save_for_backward(
            gradient_TD, _like(vocabulary.table_gradient, table_VD), _like(vocabulary.rows_gradient, rows_ND)
        )
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of the forward pass times the incoming one."""
        scaled = (None if saved is None else saved * incoming for saved in ctx.saved_tensors)
        return *scaled, None, None, None, None


def _like(gradient: torch.Tensor | None, weight: torch.Tensor | None) -> torch.Tensor | None:
    return gradient if gradient is None or weight is None else gradient.to(weight.dtype)
