"""Documents of a corpus artifact: train.jsonl.gz and holdout.jsonl.gz, one JSON object a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRAIN = "train.jsonl.gz"
HOLDOUT = "holdout.jsonl.gz"
DROPPED = "dropped.jsonl.gz"
SHARES = "shares.json"

_PIECE_BYTES = 1_500


@dataclass(frozen=True)
class Document:
    """One document. language is "ko" or "en"; source is the name of its corpus; text is NFC."""

    id: str
    source: str
    language: str
    title: str
    text: str


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a .jsonl.gz file of a corpus artifact, in order."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield Document(row["id"], row["source"], row["language"], row["title"], row["text"])


def read_shares(corpus: Path) -> dict[str, float]:
    """Source → share of the training tokens, as the recipe asks, summing to 1."""
    shares: dict[str, float] = json.loads((corpus / SHARES).read_text(encoding="utf-8"))
    return shares


def holdout_texts(corpus: Path, max_bytes: int) -> dict[str, list[str]]:
    """Language → openings of hold-out documents, about max_bytes of UTF-8 in all, spread evenly over the documents."""
    by_language: dict[str, list[str]] = {}
    for document in read_documents(corpus / HOLDOUT):
        by_language.setdefault(document.language, []).append(document.text)
    return {language: _spread(texts, max_bytes) for language, texts in sorted(by_language.items())}


def _spread(texts: list[str], max_bytes: int) -> list[str]:
    """Equal openings of as many evenly spaced texts as fit; longer openings where there are few texts."""
    count = max(1, min(len(texts), max_bytes // _PIECE_BYTES))
    chosen = [texts[index * len(texts) // count] for index in range(count)]
    return [text.encode()[: max_bytes // count].decode(errors="ignore") for text in chosen]
