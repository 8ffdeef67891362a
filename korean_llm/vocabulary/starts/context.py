"""What the ways to start a row know beside the old rows: bytes, counts, and a little text in the new tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from korean_llm.measure.bits import start_token, windows

COUNTED_BYTES = 2_000_000
"""Korean text whose tokens are counted, at most."""
FIT_BYTES = {"ko": 64_000, "en": 8_000}
"""Text that the model reads once to fit rows to, at most, by language."""
_PIECE_BYTES = 1_500
_WINDOW_CHARS = 600


@dataclass(frozen=True)
class StartContext:
    """Facts of the run's corpus and tokenizers.

    Attributes:
        raw: bytes of every old token that text can be cut into, by id.
        old_counts: how often the base's tokenizer uses an old token in the counted text.
        documents: the counted text as ids of the extended tokenizer, one tuple a document.
        windows: text to fit rows to, as ids of the extended tokenizer, each behind the start token.
        seed: of what is drawn at random.
    """

    raw: Mapping[int, bytes] = field(default_factory=dict)
    old_counts: Mapping[int, int] = field(default_factory=dict)
    documents: Sequence[Sequence[int]] = ()
    windows: Sequence[Sequence[int]] = ()
    seed: int = 0


def build_context(
    base: PreTrainedTokenizerBase,
    extended: PreTrainedTokenizerBase,
    raw: Mapping[int, bytes],
    texts: Mapping[str, Sequence[str]],
    seed: int,
) -> StartContext:
    """Cut and count text for the ways to start.

    Args:
        base, extended: the tokenizer before and after extension.
        raw: bytes of the base's tokens, by id.
        texts: training texts by language, "ko" and "en"; openings of evenly spaced ones are read, up to the caps.
        seed: of what is drawn at random.
    """
    counted = spread(texts.get("ko", ()), COUNTED_BYTES)
    old_counts: Counter[int] = Counter()
    for ids in _ids(base, counted):
        old_counts.update(ids)
    fitted = [
        (start_token(extended), *ids)
        for language, max_bytes in FIT_BYTES.items()
        for ids in _ids(extended, windows(spread(texts.get(language, ()), max_bytes), _WINDOW_CHARS))
    ]
    return StartContext(dict(raw), dict(old_counts), _ids(extended, counted), fitted, seed)


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    return list(tokenizer(list(texts), add_special_tokens=False)["input_ids"]) if texts else []


def spread(texts: Sequence[str], max_bytes: int) -> list[str]:
    """Openings of evenly spaced texts, about max_bytes of UTF-8 in all."""
    if not texts:
        return []
    usual = sum(len(text.encode()) for text in texts) // len(texts)
    count = max(1, min(len(texts), max_bytes // max(1, min(usual, _PIECE_BYTES))))
    chosen = [texts[index * len(texts) // count] for index in range(count)]
    found, left = [], max_bytes
    for number, text in enumerate(chosen):
        piece = text.encode()[: left // (count - number)]
        found.append(piece.decode(errors="ignore"))
        left -= len(piece)
    return found
