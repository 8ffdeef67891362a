"""Write an index folder: build, add, update, delete, compact. What is written takes effect at one rename."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import store
from korean_llm.retrieval.analyzer import analyzer
from korean_llm.retrieval.bulk import count_texts
from korean_llm.retrieval.cut import Cut, Document, cut, passage_text, read_documents
from korean_llm.retrieval.lexical import Postings
from korean_llm.retrieval.merge import merge_segments
from korean_llm.retrieval.segment import Entry, Segment, write_segment
from korean_llm.retrieval.store import SEGMENTS, Options, State
from korean_llm.retrieval.workers import Workers

if TYPE_CHECKING:
    from korean_llm.retrieval.encoder import Encoder

_BATCH_CHARS = 200_000_000
"""Text that becomes one segment at most while building: it bounds the memory that is needed."""
_MAX_SEGMENTS = 8
_MAX_DEAD_RATIO = 0.5


def build(
    documents: Iterable[dict[str, Any]], folder: Path, source: Path | None, options: Options, machine: Machine
) -> None:
    """Make an index; one that is there stays whole until the new one takes its place.

    Raises KoreanLLMError as Index.build says.
    """
    store.check_folder(folder)
    encoder = _load_encoder(source, options, machine) if source else None
    batches = _batches(documents)
    first = next(batches, None)
    if first is None:
        raise KoreanLLMError("there is no document to index; give at least one.")
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with store.writing(folder):
        name = _copy_encoder(source, folder) if source else None
        state = State(_generation(folder), options, name, (), store.here())
        entries = []
        for batch in _chain(first, batches):
            entries.append(_new_segment(folder, state, batch, encoder, machine))
        if not any(entry.passages for entry in entries):
            store.clean(folder, _current(folder) or state)
            if created:
                (folder / SEGMENTS).rmdir()
                folder.rmdir()
            raise KoreanLLMError(
                f"none of the {sum(entry.documents for entry in entries)} documents holds any text;"
                " there is nothing to index."
            )
        store.commit(folder, state, entries)


def add(folder: Path, documents: Iterable[dict[str, Any]], encoder: Encoder | None, machine: Machine) -> None:
    """Add documents whose ids are new."""
    _grow(folder, list(read_documents(documents)), (), encoder, machine, replacing=False)


def update(folder: Path, documents: Iterable[dict[str, Any]], encoder: Encoder | None, machine: Machine) -> None:
    """Add documents, each in place of the one with its id."""
    _grow(folder, list(read_documents(documents)), (), encoder, machine, replacing=True)


def delete(folder: Path, ids: Sequence[str], encoder: Encoder | None, machine: Machine) -> None:
    """Delete the documents of these ids, all or none."""
    _grow(folder, [], ids, encoder, machine, replacing=True)


def compact(folder: Path, _: None, encoder: Encoder | None, machine: Machine) -> None:
    """Merge all segments into one."""
    with store.writing(folder):
        state = _open_state(folder)
        if len(state.segments) > 1 or any(entry.dead for entry in state.segments):
            _merge(folder, state, list(state.segments))


def _grow(
    folder: Path,
    documents: list[Document],
    deleted: Sequence[str],
    encoder: Encoder | None,
    machine: Machine,
    *,
    replacing: bool,
) -> None:
    with store.writing(folder):
        state = _open_state(folder)
        segments = [Segment(folder / SEGMENTS / entry.name, entry) for entry in state.segments]
        gone = _numbers(segments, deleted, missing="is not in the index; give an id that is.")
        if replacing:
            old = _numbers(segments, [document.id for document in documents], missing=None)
            gone = [here | there for here, there in zip(gone, old, strict=True)]
        else:
            _check_new(segments, documents, folder)
        name = f"dead-{state.generation + 1:06}"
        entries = [
            segment.without(numbers, name) if numbers else segment.entry
            for segment, numbers in zip(segments, gone, strict=True)
        ]
        if documents:
            if state.encoder and encoder is None:
                encoder = _load_encoder(folder / state.encoder, state.options, machine)
            entries.append(_new_segment(folder, state, documents, encoder, machine))
        state = store.commit(folder, state, [entry for entry in entries if entry.documents])
        if worn := _worn(state):
            _merge(folder, state, worn)


def _numbers(segments: list[Segment], ids: Iterable[str], missing: str | None) -> list[set[int]]:
    """The numbers of the documents with these ids, segment by segment; missing: what is wrong with an unknown id."""
    found: list[set[int]] = [set() for _ in segments]
    for id in ids:
        at = next(((s, number) for s, seg in enumerate(segments) if (number := seg.find(id)) is not None), None)
        if at is not None:
            found[at[0]].add(at[1])
        elif missing:
            raise KoreanLLMError(f"the document {id!r} {missing}")
    return found


def _check_new(segments: list[Segment], documents: list[Document], folder: Path) -> None:
    for document in documents:
        if any(segment.find(document.id) is not None for segment in segments):
            raise KoreanLLMError(
                f"the document {document.id!r} is in {folder} already; update it instead of adding it."
            )


def _open_state(folder: Path) -> State:
    state = store.read_state(folder)
    store.check_fits(folder, state)
    store.clean(folder, state)
    return state


def _current(folder: Path) -> State | None:
    return store.read_state(folder) if (folder / store.INDEX).is_file() else None


def _generation(folder: Path) -> int:
    """The last generation written to a folder; an old index may be of any version."""
    try:
        found = _current(folder)
    except (KoreanLLMError, OSError, ValueError, KeyError, TypeError):
        return 0
    return found.generation if found else 0


def _batches(documents: Iterable[dict[str, Any]]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    num_chars = 0
    for document in read_documents(documents):
        batch.append(document)
        num_chars += len(document.text)
        if num_chars >= _BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _chain(first: list[Document], rest: Iterator[list[Document]]) -> Iterator[list[Document]]:
    yield first
    yield from rest


def _load_encoder(source: Path, options: Options, machine: Machine) -> Encoder:
    from korean_llm.retrieval.encoder import Encoder

    return Encoder(source, options.query_prefix, options.passage_prefix, machine)


def _copy_encoder(source: Path, folder: Path) -> str:
    from korean_llm.retrieval.encoder import copy_encoder

    with console.working("copying the encoder"):
        return copy_encoder(source, folder)


def _new_segment(
    folder: Path, state: State, documents: list[Document], encoder: Encoder | None, machine: Machine
) -> Entry:
    """Cut, analyse, encode and write documents."""
    options = state.options
    parts = cut(documents, options.passage_chars, options.small_chars if encoder else 0)
    texts = [passage_text(documents[d].title, documents[d].text[s:e]) for d, s, e, *_ in parts.passages_N5.tolist()]
    own = analyzer(options.analyzer, options.exact, options.dictionary)
    with Workers(own, machine.num_workers, sum(map(len, texts))) as workers:
        lists = Postings.of(count_texts(own, texts, workers))
    vectors_MD = encoder.passages(list(_small_texts(documents, parts))) if encoder else None
    return write_segment(store.new_segment(folder), documents, parts, lists, vectors_MD)


def _small_texts(documents: list[Document], parts: Cut) -> Iterator[str]:
    for passage, start, end in parts.small_M3.tolist():
        document = documents[int(parts.passages_N5[passage, 0])]
        yield passage_text(document.title, document.text[start:end])


def _worn(state: State) -> list[Entry]:
    """The segments to merge: those mostly dead, and once there are too many, the smaller half."""
    entries = sorted(state.segments, key=lambda entry: entry.passages)
    smaller = entries[: len(entries) // 2 + 1] if len(entries) > _MAX_SEGMENTS else []
    return [entry for entry in entries if entry in smaller or entry.passages < (1 - _MAX_DEAD_RATIO) * entry.size]


def _merge(folder: Path, state: State, chosen: Sequence[Entry]) -> None:
    with console.working("merging segments"):
        segments = [Segment(folder / SEGMENTS / entry.name, entry) for entry in chosen]
        entry = merge_segments(segments, store.new_segment(folder))
    names = {one.name for one in chosen}
    rest = [one for one in state.segments if one.name not in names]
    store.commit(folder, state, [*rest, entry])
