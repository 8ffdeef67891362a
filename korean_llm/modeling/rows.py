"""Rows of new tokens as a parameter of their own, beside a table that stays frozen.

PEFT's trainable tokens promise the same, and their old rows are bit-equal too; they are not used here because they
build a whole table from old and new rows in every forward pass and a whole table's gradient in every backward pass
(for a 7B head some 400 MB each), keep the new rows twice, and offer a fused loss no way to the rows. Measured side by
side in tests/benchmarks/loss.py.

V rows of the table, N new tokens, D hidden size; new ids are first_id … first_id + N. The table's own rows of those
ids stand idle until `fold` writes the trained rows into them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

ROWS = "new_rows"


class RowEmbedding(nn.Embedding):
    """An embedding whose new tokens' rows are a parameter of their own, `new_rows` of shape (N, D)."""

    new_rows: nn.Parameter

    def __init__(self, table: nn.Embedding, rows_ND: nn.Parameter, first_id: int) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, table.padding_idx, device="meta")
        self.weight, self.new_rows, self.first_id = table.weight, rows_ND, first_id

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids of any shape → their rows, in the table's number format."""
        place = ids - self.first_id
        new = (place >= 0) & (place < len(self.new_rows))
        # Where a token is new, the table is asked for row 0: its answer, and so its gradient, is not used.
        old = functional.embedding(ids.masked_fill(new, 0), self.weight, self.padding_idx)
        rows = functional.embedding(place.clamp(0, len(self.new_rows) - 1), self.new_rows).to(old.dtype)
        return torch.where(new[..., None], rows, old)


class RowHead(nn.Linear):
    """A head whose new tokens' rows are a parameter of their own, `new_rows` of shape (N, D)."""

    new_rows: nn.Parameter

    def __init__(self, table: nn.Linear, rows_ND: nn.Parameter, first_id: int) -> None:
        super().__init__(table.in_features, table.out_features, bias=table.bias is not None, device="meta")
        self.weight, self.bias, self.new_rows, self.first_id = table.weight, table.bias, rows_ND, first_id

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (…, D) → logits (…, V)."""
        end = self.first_id + len(self.new_rows)
        rows = self.new_rows.to(self.weight.dtype)
        parts = [self.weight[: self.first_id], rows, self.weight[end:]]
        logits = torch.cat([functional.linear(hidden, part) for part in parts if len(part)], dim=-1)
        return logits if self.bias is None else logits + self.bias


def separate(model: PreTrainedModel, new_ids: Sequence[int]) -> None:
    """Take the rows of new tokens out of the model's tables, in place; one parameter for a tied model, else two.

    The rows are held in float32 whatever the tables' format: steps of a small rate would vanish in bfloat16.
    Raises ValueError where new ids do not follow each other.
    """
    first, count = new_ids[0], len(new_ids)
    if list(new_ids) != list(range(first, first + count)):
        raise ValueError("ids of new tokens have to follow each other")
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(embedding, nn.Embedding) and isinstance(head, nn.Linear)
    rows = _own(embedding.weight, first, count)
    head_rows = rows if head.weight is embedding.weight else _own(head.weight, first, count)
    model.set_input_embeddings(RowEmbedding(embedding, rows, first))
    model.set_output_embeddings(RowHead(head, head_rows, first))


def _own(table_VD: torch.Tensor, first: int, count: int) -> nn.Parameter:
    return nn.Parameter(table_VD.detach()[first : first + count].float().clone())


@torch.no_grad()
def fold(model: PreTrainedModel) -> None:
    """Write separated rows back into ordinary tables and modules, in place. A model without them stays as it is."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not (isinstance(embedding, RowEmbedding) and isinstance(head, RowHead)):
        return
    for module in (embedding, head):
        end = module.first_id + len(module.new_rows)
        module.weight[module.first_id : end] = module.new_rows.to(module.weight.dtype)
    plain_embedding = nn.Embedding(
        embedding.num_embeddings, embedding.embedding_dim, embedding.padding_idx, device="meta"
    )
    plain_embedding.weight = embedding.weight
    plain_head = nn.Linear(head.in_features, head.out_features, bias=head.bias is not None, device="meta")
    plain_head.weight, plain_head.bias = head.weight, head.bias
    model.set_input_embeddings(plain_embedding)
    model.set_output_embeddings(plain_head)
