"""Build an index again from the documents it holds, where Kiwi or the rules of analysis have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korean_llm.machine import Machine
from korean_llm.retrieval import store
from korean_llm.retrieval.index import Index
from korean_llm.retrieval.segment import Segment
from korean_llm.retrieval.store import SEGMENTS


def rebuild(folder: Path, machine: Machine) -> Index:
    """Replace an index by one of the same documents, options and encoder; the old one stays until then.

    Passages are cut anew. Raises KoreanLLMError where there is no index, or its files are of another version.
    """
    state = store.read_state(folder)
    segments = [Segment(folder / SEGMENTS / entry.name, entry) for entry in state.segments]
    encoder = folder / state.encoder if state.encoder else None
    return Index.build(_rows(segments), folder, encoder=encoder, options=state.options, machine=machine)


def _rows(segments: list[Segment]) -> Iterator[dict[str, Any]]:
    for segment in segments:
        for number in segment.living():
            document = segment.document(int(number))
            yield {"id": document.id, "title": document.title, "text": document.text, "pages": document.pages}
