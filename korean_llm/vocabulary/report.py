"""What the extension brought: the new tokens by kind, and fertility on held-out text before and after."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.corpus.documents import Document
from korean_llm.hangul import holds_hangul
from korean_llm.measure.fertility import Fertility, fertility
from korean_llm.vocabulary.byte_level import bytes_piece
from korean_llm.vocabulary.learn import Merge

TOKENS_FILE = "tokens.jsonl"
FERTILITY_FILE = "fertility.json"

Kind = Literal["partial UTF-8", "syllable", "word start", "word piece"]


def kind_of(raw: bytes) -> Kind:
    """What a new token is.

    "partial UTF-8" begins or ends inside a character; "syllable" is one Hangul character, with or without the space
    before it; "word start" begins with a space; "word piece" is anything else.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "partial UTF-8"
    if len(text.strip()) == 1 and holds_hangul(text):
        return "syllable"
    return "word start" if text[0].isspace() else "word piece"


def write_tokens(path: Path, merges: Sequence[Merge]) -> dict[str, int]:
    """Write one line per new token and return how many there are of each kind.

    `token` is the vocabulary entry as in tokenizer.json, `text` what people read (null inside a character), `count`
    how often the pair stood in the text when it was merged.
    """
    kinds: Counter[str] = Counter()
    with path.open("w", encoding="utf-8") as file:
        for merge in merges:
            kind = kind_of(merge.raw)
            kinds[kind] += 1
            row = {
                "id": merge.id,
                "token": bytes_piece(merge.raw),
                "text": None if kind == "partial UTF-8" else merge.raw.decode(),
                "kind": kind,
                "count": merge.count,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return dict(kinds)


def compare_fertility(
    base: PreTrainedTokenizerBase, extended: PreTrainedTokenizerBase, documents: Sequence[Document]
) -> dict[str, Any]:
    """Fertility before and after, for every source and in total over the Korean documents.

    Returns {"total": row, "sources": {name: row + language}}; a row holds documents, eojeols, bytes, and
    tokens, tokens_per_eojeol and bytes_per_token, each as {"base": …, "extended": …}.
    """
    by_source: dict[tuple[str, str], list[str]] = {}
    for document in documents:
        by_source.setdefault((document.source, document.language), []).append(document.text)
    sources: dict[str, dict[str, Any]] = {}
    totals, num_documents = (Fertility(), Fertility()), 0
    for (source, language), texts in console.progress(sorted(by_source.items()), "measuring fertility"):
        before, after = fertility(base, texts), fertility(extended, texts)
        sources[source] = {"language": language, **_row(len(texts), before, after)}
        if language == "ko":
            totals = totals[0] + before, totals[1] + after
            num_documents += len(texts)
    return {"total": _row(num_documents, *totals), "sources": sources}


def _row(num_documents: int, before: Fertility, after: Fertility) -> dict[str, Any]:
    return {
        "documents": num_documents,
        "eojeols": before.eojeols,
        "bytes": before.bytes,
        "tokens": {"base": before.tokens, "extended": after.tokens},
        "tokens_per_eojeol": {
            "base": round(before.tokens_per_eojeol, 4),
            "extended": round(after.tokens_per_eojeol, 4),
        },
        "bytes_per_token": {"base": round(before.bytes_per_token, 4), "extended": round(after.bytes_per_token, 4)},
    }
