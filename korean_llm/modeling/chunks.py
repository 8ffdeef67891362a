"""How many tokens' logits are held at once: for the loss that computes them and for the estimate of its memory."""

from __future__ import annotations

_CHUNK_LOGITS = 2**26  # 256 MiB in float32


def chunk_size(num_tokens: int, vocabulary: int) -> int:
    """Tokens of one chunk: as many as 2^26 logits allow, at least 16, in chunks of about equal size."""
    most = max(16, _CHUNK_LOGITS // vocabulary)
    num_chunks = max(1, -(-num_tokens // most))
    return max(1, -(-num_tokens // num_chunks))
