"""The corpora an artifact learned from, with what their cards say of source and licence."""

from __future__ import annotations

from dataclasses import dataclass

from korean_llm.artifact import Manifest
from korean_llm.corpus.card import load_card
from korean_llm.errors import KoreanLLMError
from korean_llm.hub.lineage import Lineage

_UNSAID = ("unknown", "see ", "unclear", "not stated")


@dataclass(frozen=True)
class Source:
    """One corpus.

    Attributes:
        use: the stage that learned from it.
        licence: as its card has it; "" where no card says one.
        doubt: why the licence is not verified, in Korean and English; empty where the card states it.
        dataset: its id on the Hub, None for other places.
        rows: documents or rows kept, where the manifest counts them by corpus.
    """

    name: str
    use: str
    title: str
    origin: str
    licence: str
    doubt: tuple[str, str] | None
    dataset: str | None
    rows: int | None


def sources(lineage: Lineage) -> list[Source]:
    """Every corpus that the artifact or an ancestor of it read, in the order of the run."""
    return [
        _source(role.partition(":")[2], stage, manifest, fingerprint)
        for stage, manifest in lineage.manifests.items()
        for role, fingerprint in manifest.inputs.items()
        if ":" in role
    ]


def _source(name: str, stage: str, manifest: Manifest, fingerprint: str) -> Source:
    kept = manifest.counts.get("kept")
    rows = kept.get(name) if isinstance(kept, dict) else None
    try:
        card = load_card(name)
    except KoreanLLMError:
        doubt = ("카드를 찾지 못함", "its card was not found")
        return Source(name, stage, name, "", "", doubt, None, rows)
    model = card.model
    return Source(
        name=name,
        use=stage,
        title=model.title,
        origin=model.source,
        licence=model.licence,
        doubt=_doubt(model.licence, same=card.fingerprint == fingerprint),
        dataset=model.hub.id if model.hub else None,
        rows=rows,
    )


def _doubt(licence: str, *, same: bool) -> tuple[str, str] | None:
    if not same:
        return ("실행한 뒤 카드가 바뀜", "its card has changed since the run")
    if licence.lower().startswith(_UNSAID):
        return ("카드에 라이선스가 적혀 있지 않음", "its card states no licence")
    return None
