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
from korean_llm.vocabulary.family import Family
from korean_llm.vocabulary.learned import Learned

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


def write_tokens(path: Path, family: Family, learned: Learned) -> dict[str, int]:
    """Write one line per new token and return how many there are of each kind.

    `token` is the vocabulary entry as in tokenizer.json, `text` what people read (null inside a character), `parts`
    the entries it joins, `count` how often these stood side by side when they were joined, `left` how often the token
    stands in the learning text in the end: 0 for a mere step on the way to others.
    """
    kinds: Counter[str] = Counter()
    entries = {id: entry for entry, id in family.state["model"]["vocab"].items()}
    entries |= {merge.id: family.entry(merge.raw) for merge in learned.merges}
    with path.open("w", encoding="utf-8") as file:
        for merge in learned.merges:
            kind = kind_of(merge.raw)
            kinds[kind] += 1
            row = {
                "id": merge.id,
                "token": entries[merge.id],
                "text": None if kind == "partial UTF-8" else merge.raw.decode(),
                "kind": kind,
                "parts": [entries[part] for part in merge.parts],
                "count": merge.count,
                "left": learned.counts[merge.id],
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
