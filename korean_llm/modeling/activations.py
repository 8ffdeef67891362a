"""Bytes that a forward and a backward pass hold, by formula: layers of the Llama kind, and the chunked loss.

What autograd saves was counted tensor by tensor (tests/modeling/test_activations.py compares byte for byte). Norms
compute and save in float32 whatever the format. Packed documents need a mask, which SDPA keeps in the format of its
input, and for which keys and values are repeated to as many heads as there are queries. A linear layer keeps its input
where it or an adapter on it learns. On a GPU what learns is in float32 and autocast to bfloat16: then every such layer
keeps a cast input and cast weights of its own.

D hidden, F feed-forward, V vocabulary, H heads, Q = H × head size, T tokens of a pass, N new rows, r LoRA rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from korean_llm.modeling.chunks import chunk_size
from korean_llm.modeling.shape import Shape

_FLOAT32 = 4
Body = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass.

    Attributes:
        tokens: T; block_tokens: length of one row of the batch, over which its attention mask reaches.
        body: what learns inside the layers; depth: layers that the backward pass goes through.
        width: bytes of a number: 4 in float32, 2 in bfloat16 under autocast; stream: of one between two layers.
        checkpointed: each layer's input is kept alone, and one layer computed again at a time.
    """

    tokens: int
    block_tokens: int
    body: Body
    depth: int
    rank: int
    width: int
    stream: int
    checkpointed: bool


def layer_bytes(shape: Shape, done: Pass) -> int:
    """What autograd saves of one layer."""
    queries, width = shape.heads * shape.head_dim, done.width
    norms = _FLOAT32 * (2 * shape.hidden + 2)
    attention = width * 4 * queries + _FLOAT32 * shape.heads + width * done.block_tokens
    per_token = norms + attention + width * 3 * shape.feed_forward
    cast = width < _FLOAT32
    copies = 0
    if done.body == "full":
        inputs = 5 if cast else 2
        per_token += width * (inputs * shape.hidden + shape.feed_forward) + done.stream * 2 * shape.hidden
        copies = width * shape.linear // shape.layers if cast else 0
    if done.body == "lora":
        inputs = 5 * shape.hidden + queries if cast else 2 * shape.hidden
        per_token += width * (inputs + shape.feed_forward + 7 * done.rank)
        copies = width * shape.lora(done.rank) // shape.layers if cast else 0
    return per_token * done.tokens + copies


def kept_bytes(shape: Shape, done: Pass) -> int:
    """What is held from the forward pass until the backward pass comes for it."""
    last = done.tokens * (_FLOAT32 * (shape.hidden + 1) + done.width * shape.hidden)
    mask = done.tokens * done.block_tokens
    if done.checkpointed:
        return done.depth * done.tokens * shape.hidden * done.stream + last + mask
    return done.depth * layer_bytes(shape, done) + last + mask


def working_bytes(shape: Shape, done: Pass) -> int:
    """What the backward pass through one layer takes beside what is kept: gradients, and the layer computed again."""
    if not done.depth:
        return 0
    gradients = 3 * done.width * done.tokens * shape.feed_forward
    return gradients + (layer_bytes(shape, done) if done.checkpointed else 0)


def loss_bytes(shape: Shape, done: Pass, new_rows: int, table_learns: bool) -> int:
    """What the chunked loss takes: a chunk's logits, the gradients of hidden states, rows and table it computes."""
    chunk = chunk_size(done.tokens, shape.vocabulary)
    logit = _FLOAT32 if done.width == _FLOAT32 else _FLOAT32 + done.width
    hidden = 2 * done.tokens * shape.hidden * done.width  # without ignored tokens, and the gradient
    rows = new_rows * shape.hidden * (_FLOAT32 + (done.width if done.width < _FLOAT32 else 0))
    if not table_learns:
        return chunk * shape.vocabulary * logit + hidden + rows
    # A second copy of the table's gradient, scaled, takes the place of the logits.
    return max(chunk * logit, shape.hidden * done.width) * shape.vocabulary + shape.table * _FLOAT32 + hidden + rows
