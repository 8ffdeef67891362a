"""A segment: documents indexed together, in a folder that is written once and never changed.

A document that is deleted later is marked dead in a folder of its own beside the segment's files. Shapes: N passages,
M small passages, D documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from korean_llm.retrieval import vectors
from korean_llm.retrieval.columns import Strings, open_array, save_arrays
from korean_llm.retrieval.cut import Cut, Document
from korean_llm.retrieval.lexical import Postings
from korean_llm.retrieval.vectors import Setup, Vectors

_STRINGS = ("ids", "titles", "texts")
_PAGES = "pages"


@dataclass(frozen=True)
class Entry:
    """What the index's manifest says of a segment.

    Attributes:
        name: its folder; dead: the folder inside it that says who is dead, None where nobody is.
        documents, passages, lengths: living documents and passages, and the latter's terms in each field.
        size: passages, dead ones too.
        setup: how its vectors are searched, None without an encoder.
    """

    name: str
    dead: str | None
    documents: int
    passages: int
    lengths: list[int]
    size: int
    setup: dict[str, Any] | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def id_hash(id: str) -> int:
    """64 bits that stand for a document's id; what they find is compared with the id itself."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")


def write_segment(
    folder: Path,
    documents: Sequence[Document],
    cut: Cut,
    lists: Postings,
    vectors_MD: np.ndarray | None,
) -> Entry:
    """Write all files of a new segment; it is part of an index only once the index's manifest names it."""
    folder.mkdir(parents=True)
    for name, strings in zip(_STRINGS, zip(*((d.id, d.title, d.text) for d in documents), strict=True), strict=True):
        Strings.of(strings).save(folder, name)
    hashes = np.array([id_hash(document.id) for document in documents], dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    save_arrays(folder, {"id_hashes": hashes[order], "id_order": order.astype(np.int32)})
    save_arrays(folder, {"passages": cut.passages_N5, "small": cut.small_M3})
    if pages := [(number, *page) for number, document in enumerate(documents) for page in document.pages]:
        save_arrays(folder, {_PAGES: np.array(pages, np.int64)})
    lists.save(folder)
    setup = None if vectors_MD is None else vectors.build(folder, vectors_MD).as_dict()
    lengths = [int(total) for total in lists.lengths_FN.sum(axis=1)]
    return Entry(folder.name, None, len(documents), len(cut.passages_N5), lengths, len(cut.passages_N5), setup)


class Segment:
    """An open segment; everything is mapped, nothing read.

    passages_N5: document, start, end in characters, start, end in bytes; small_M3: passage, start, end in characters;
    pages_P4: document, page number, start, end in characters, empty where no document has pages.
    """

    def __init__(self, folder: Path, entry: Entry) -> None:
        self.folder, self.entry = folder, entry
        self.ids, self.titles, self.texts = (Strings.open(folder, name) for name in _STRINGS)
        self._id_hashes, self._id_order = open_array(folder / "id_hashes.npy"), open_array(folder / "id_order.npy")
        self.passages_N5, self.small_M3 = open_array(folder / "passages.npy"), open_array(folder / "small.npy")
        pages = folder / f"{_PAGES}.npy"
        self.pages_P4 = open_array(pages) if pages.exists() else np.zeros((0, 4), np.int64)
        self.postings = Postings.open(folder)
        self.vectors = Vectors(folder, Setup(**entry.setup)) if entry.setup else None
        dead = folder / entry.dead if entry.dead else None
        self.dead_documents_D = open_array(dead / "documents.npy") if dead else None
        self.dead_passages_N = open_array(dead / "passages.npy") if dead else None
        self.dead_terms_T = open_array(dead / "terms.npy") if dead else None

    @cached_property
    def fingerprint(self) -> str:
        """Its documents, how they are cut, and which of them live, as 32 hex digits."""
        hashed = xxhash.xxh3_128()
        for strings in (self.ids, self.titles, self.texts):
            hashed.update(np.ascontiguousarray(strings.bytes_B).data)
            hashed.update(np.ascontiguousarray(strings.offsets_S).data)
        for array in (self.passages_N5, self.small_M3, self.living()):
            hashed.update(np.ascontiguousarray(array).data)
        return str(hashed.hexdigest())

    def find(self, id: str) -> int | None:
        """The number of the living document with an id."""
        wanted = np.uint64(id_hash(id))
        low, high = np.searchsorted(self._id_hashes, wanted), np.searchsorted(self._id_hashes, wanted, side="right")
        for number in self._id_order[low:high]:
            if self.is_living(int(number)) and self.ids[int(number)] == id:
                return int(number)
        return None

    def by_hash(self) -> Iterator[tuple[int, int]]:
        """(hash of the id, number) of the living documents, by hash."""
        for key, number in zip(self._id_hashes, self._id_order, strict=True):
            if self.is_living(int(number)):
                yield int(key), int(number)

    def is_living(self, document: int) -> bool:
        """Whether a document has not been deleted."""
        return self.dead_documents_D is None or not self.dead_documents_D[document]

    def living(self) -> np.ndarray:
        """Numbers of the living documents."""
        if self.dead_documents_D is None:
            return np.arange(len(self.ids))
        return np.flatnonzero(self.dead_documents_D == 0)

    def document(self, number: int) -> Document:
        """A document, whole."""
        low, high = np.searchsorted(self.pages_P4[:, 0], [number, number + 1])
        pages = tuple((int(page), int(start), int(end)) for _, page, start, end in self.pages_P4[low:high])
        return Document(self.ids[number], self.titles[number], self.texts[number], pages=pages)

    def without(self, documents: Iterable[int], name: str) -> Entry:
        """Write a folder that says that these documents are dead too, and return the segment's new entry."""
        dead_D = np.zeros(len(self.ids), np.uint8) if self.dead_documents_D is None else self.dead_documents_D.copy()
        dead_D[list(documents)] = 1
        dead_N = dead_D[self.passages_N5[:, 0]]
        folder = self.folder / name
        folder.mkdir()
        arrays = {"documents": dead_D, "passages": dead_N, "terms": self.postings.dead(dead_N)}
        save_arrays(folder, arrays)
        lengths = [int(total) for total in self.postings.lengths_FN[:, dead_N == 0].sum(axis=1)]
        living = int((dead_D == 0).sum()), int((dead_N == 0).sum())
        return Entry(self.entry.name, name, *living, lengths, self.entry.size, self.entry.setup)
