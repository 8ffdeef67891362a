"""Stage `corpus`: read, normalise, clean, deduplicate, mask personal data, hold out. Every dropped text is kept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.corpus.card import Card, load_card
from korean_llm.corpus.clean import normalise, reason_to_drop, split_text
from korean_llm.corpus.documents import DROPPED, HOLDOUT, SHARES, TRAIN, Document
from korean_llm.corpus.duplicates import Duplicates, text_hash
from korean_llm.corpus.personal import mask
from korean_llm.corpus.read import read_rows
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import CorpusSettings


@dataclass
class Tally:
    """What happened to the documents of each source: read = kept for training + held out + dropped by reason."""

    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    masked: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def as_counts(self) -> dict[str, Any]:
        """For the manifest; dropped: reason → documents, over all sources."""
        counters = {**vars(self), "dropped": sum(self.dropped.values(), Counter())}
        counts = {name: dict(sorted(counter.items())) for name, counter in counters.items()}
        by_source = {source: dict(sorted(reasons.items())) for source, reasons in sorted(self.dropped.items())}
        return {**counts, "dropped_by_source": by_source, "documents": self.kept.total() + self.held_out.total()}


def run(settings: CorpusSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int) -> dict[str, Any]:
    """Write train, holdout and dropped documents and the shares of the mixture.

    Raises KoreanLLMError where a source is of the wrong kind, or has nothing left.
    """
    cards = _cards(settings)
    tally = Tally()
    duplicates = Duplicates(settings.near_duplicates, seed)
    with ExitStack() as stack:
        train, holdout, dropped = (stack.enter_context(_gzip(out / name)) for name in (TRAIN, HOLDOUT, DROPPED))
        for document in console.progress(_documents(cards, settings), "cleaning"):
            tally.read[document.source] += 1
            language = cards[document.source].model.language
            reason, earlier = _judge(document, language, settings, duplicates)
            document, masked = _masked(document, settings)
            if reason:
                tally.dropped[document.source][reason] += 1
                _write(dropped, asdict(document) | {"reason": reason, "duplicate_of": earlier})
                continue
            tally.masked.update(masked)
            target, counter = (holdout, tally.held_out) if _held_out(document.text, settings) else (train, tally.kept)
            counter[document.source] += 1
            tally.bytes[document.source] += len(document.text.encode())
            _write(target, asdict(document))
    _check_not_empty(cards, tally)
    total = sum(settings.sources.values())
    write_json(
        out / SHARES, {name: share / total for name, share in zip(cards, settings.sources.values(), strict=True)}
    )
    return {"counts": tally.as_counts(), "metrics": {}}


def _cards(settings: CorpusSettings) -> dict[str, Card]:
    """Corpus name → card, for every source of the mixture."""
    cards: dict[str, Card] = {}
    for source in settings.sources:
        card = load_card(source)
        if card.model.kind != "documents":
            raise KoreanLLMError(f"corpus.sources.{source}: expected documents; this corpus holds {card.model.kind}.")
        if card.name in cards:
            raise KoreanLLMError(f"corpus.sources.{source}: two sources are called {card.name!r}; rename one.")
        cards[card.name] = card
    return cards


def _documents(cards: dict[str, Card], settings: CorpusSettings) -> Iterator[Document]:
    for card in cards.values():
        for row in islice(read_rows(card), settings.max_documents):
            parts = split_text(normalise(row["text"]), settings.split_chars)
            for number, text in enumerate(parts, start=1):
                name = row["id"] if len(parts) == 1 else f"{row['id']}#{number}"
                yield Document(name, card.name, card.model.language, row["title"], text)


def _judge(
    document: Document, language: str, settings: CorpusSettings, duplicates: Duplicates
) -> tuple[str | None, str | None]:
    """(reason, id of the document it repeats); (None, None) where the document is kept."""
    reason = reason_to_drop(document.text, language, settings.clean)
    if reason:
        return reason, None
    return duplicates.find(document.id, document.text) or (None, None)


def _masked(document: Document, settings: CorpusSettings) -> tuple[Document, Counter[str]]:
    if settings.personal_data == "keep":
        return document, Counter()
    title, in_title = mask(document.title)
    text, in_text = mask(document.text)
    return replace(document, title=title, text=text), in_title + in_text


def _held_out(text: str, settings: CorpusSettings) -> bool:
    """By a hash of the text alone, so that a document stays held out whatever else is added to the corpus."""
    digest = hashlib.sha256(text_hash(text).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < settings.holdout


def _check_not_empty(cards: dict[str, Card], tally: Tally) -> None:
    for card in cards.values():
        if not tally.read[card.name]:
            raise KoreanLLMError(f"the corpus {card.name!r} is empty; give it documents or take it out of sources.")
        if not tally.kept[card.name] + tally.held_out[card.name]:
            raise KoreanLLMError(_nothing_left(card.name, tally.dropped[card.name]))
    if not tally.held_out:
        raise KoreanLLMError(
            "no document was held out; raise corpus.holdout or add documents, so that gains can be measured."
        )


def _nothing_left(name: str, dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
    if set(dropped) <= {"duplicate", "near_duplicate"}:
        advice = "it repeats itself or a source before it; take it out of corpus.sources."
    else:
        advice = "loosen the rules, or check that the text is in the language its card says."
    return f"no document of the corpus {name!r} passes corpus.clean (dropped: {reasons}); {advice}"


def _gzip(path: Path) -> IO[str]:
    """A gzip text file without a time stamp, so that equal text gives equal bytes."""
    return io.TextIOWrapper(gzip.GzipFile(path, "wb", mtime=0), encoding="utf-8")


def _write(file: IO[str], row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
