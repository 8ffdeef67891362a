"""Search in Milvus, where one machine is not enough: the same analyzer, sparse weights and vectors as the local index.

The index folder stays the source: it holds documents, statistics and encoder, and `sync` brings its passages into two
collections, NAME_passages (sparse) and NAME_small (dense). A passage's sparse vector holds weight · tf / (tf + norm) of
each term, the question's holds idf; their inner product is BM25. Both arms are fused by the index, as always.

Ingestion goes on where it stopped: after every batch, milvus.json in the folder says how far each segment is. Primary
keys are segment number · 2³² + row. Terms are 32 bits of their hash: two of a million share theirs with
probability 2⁻³² each. Shapes: N passages, P postings of a segment, M small passages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.lexical import Question, norms
from korean_llm.retrieval.segment import Segment

if TYPE_CHECKING:
    from pymilvus import MilvusClient

PROGRESS = "milvus.json"
_BATCH = 1_000
_ROWS = 2**32
_MAX_DRIFT = 0.01
"""Where the mean length of a passage has changed by more, all sparse vectors are written again."""


class Remote:
    """The two searches of an index, in Milvus."""

    def __init__(self, uri: str, name: str, segments: Sequence[Segment]) -> None:
        """uri: of a server, or a file for Milvus Lite. Raises KoreanLLMError where it does not answer."""
        self.client = _connect(uri)
        self.uri, self.name, self._segments = uri, name, segments
        self._numbers = {int(segment.entry.name): number for number, segment in enumerate(segments)}
        self._offsets = _offsets([len(segment.passages_N5) for segment in segments])
        self._small_offsets = _offsets([len(segment.small_M3) for segment in segments])

    def lexical(self, question: Question, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(numbers, scores) of the best k passages by BM25, best first."""
        asked = dict(zip(_term_numbers(question.hashes_Q).tolist(), question.weights_Q.tolist(), strict=True))
        return self._search("passages", "sparse", asked, k, self._offsets) if asked else _nothing()

    def dense(self, query_D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(numbers, scores) of the k passages whose best small passages are nearest, best first."""
        depth = 2 * k
        while True:
            small, scores = self._search("small", "dense", query_D.tolist(), depth, self._small_offsets)
            numbers = self._owners(small)
            _, first = np.unique(numbers, return_index=True)
            if len(first) >= k or len(small) < depth or depth >= 16_384:
                first = np.sort(first)[:k]
                return numbers[first], scores[first]
            depth = min(4 * depth, 16_384)

    def _search(self, part: str, field: str, asked: Any, k: int, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parameters = {"metric_type": "IP", "params": {"drop_ratio_search": 0.0} if field == "sparse" else {}}
        found = self.client.search(
            f"{self.name}_{part}", [asked], anns_field=field, limit=k, search_params=parameters,
            consistency_level="Strong",
        )[0]  # fmt: skip
        keys = [divmod(int(hit["key"]), _ROWS) for hit in found]
        known = [at for at, (segment, _) in enumerate(keys) if segment in self._numbers]
        numbers = np.array([offsets[self._numbers[keys[at][0]]] + keys[at][1] for at in known], np.int64)
        return numbers, np.array([found[at]["distance"] for at in known], np.float32)

    def _owners(self, small: np.ndarray) -> np.ndarray:
        """The passages of small passages, both numbered through all segments."""
        owners = np.zeros(len(small), np.int64)
        for at, number in enumerate(small.tolist()):
            segment = int(np.searchsorted(self._small_offsets, number, side="right")) - 1
            row = self._segments[segment].small_M3[number - self._small_offsets[segment]]
            owners[at] = self._offsets[segment] + row[0]
        return owners


def sync(folder: Path, remote: Remote, segments: Sequence[Segment], means_F: np.ndarray, width: int | None) -> int:
    """Bring Milvus up to date with an index; goes on where a killed run stopped. Returns the rows written.

    means_F: mean length of a passage in each field; width: of the dense vectors, None without them.
    """
    progress = _progress(folder, remote, means_F)
    _make_collections(remote, width, fresh=not progress["done"])
    written = 0
    for segment in segments:
        for part, rows, total in _parts(segment, means_F, width):
            label = f"{segment.entry.name}/{part}"
            start = progress["done"].get(label, 0)
            batches = range(start, total, _BATCH)
            for at in console.progress(batches, f"into Milvus: {label}") if len(batches) > 1 else batches:
                batch = [row for row in rows(at, min(at + _BATCH, total)) if row is not None]
                if batch:
                    remote.client.upsert(f"{remote.name}_{part}", batch)
                written += len(batch)
                progress["done"][label] = min(at + _BATCH, total)
                write_json(folder / PROGRESS, progress)
    _remove_dead(folder, remote, segments, progress)
    return written


def _progress(folder: Path, remote: Remote, means_F: np.ndarray) -> dict[str, Any]:
    """What is in Milvus already; nothing, where it is another Milvus or passages have become longer or shorter."""
    empty = {"uri": remote.uri, "name": remote.name, "means": means_F.tolist(), "done": {}, "dead": {}}
    try:
        known: dict[str, Any] = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return empty
    same = (known["uri"], known["name"]) == (remote.uri, remote.name)
    drift = np.abs(np.array(known["means"]) - means_F) / np.maximum(means_F, 1e-9)
    return known if same and (drift <= _MAX_DRIFT).all() else empty


def _parts(segment: Segment, means_F: np.ndarray, width: int | None) -> Iterator[tuple[str, Any, int]]:
    """(collection, rows(start, end), number of rows) of a segment."""
    number = int(segment.entry.name) * _ROWS
    vectors = _SparseRows(segment, means_F)

    def passages(start: int, end: int) -> Iterator[dict[str, Any] | None]:
        for row in range(start, end):
            yield {"key": number + row, "sparse": vectors[row]} if len(vectors[row]) else None

    def small(start: int, end: int) -> Iterator[dict[str, Any]]:
        assert segment.vectors is not None
        for row in range(start, end):
            yield {"key": number + row, "dense": segment.vectors.vectors_MD[row].tolist()}

    yield "passages", passages, len(segment.passages_N5)
    if width:
        yield "small", small, len(segment.small_M3)


class _SparseRows:
    """The sparse vector of each passage of a segment: its postings, turned from terms to passages."""

    def __init__(self, segment: Segment, means_F: np.ndarray) -> None:
        lists = segment.postings
        terms_P = np.repeat(np.arange(len(lists.hashes_T)), np.diff(lists.indptr))
        fields_P = lists.arrays["term_fields"][terms_P]
        norms_P = norms(lists.lengths_FN, means_F)[fields_P, lists.passages]
        order = np.argsort(lists.passages, kind="stable")
        self._weights_P = (lists.counts / (lists.counts + norms_P))[order]
        self._terms_P = _term_numbers(lists.hashes_T)[terms_P[order]]
        self._starts = np.searchsorted(lists.passages[order], np.arange(lists.lengths_FN.shape[1] + 1))

    def __getitem__(self, passage: int) -> dict[int, float]:
        start, end = self._starts[passage], self._starts[passage + 1]
        return dict(zip(self._terms_P[start:end].tolist(), self._weights_P[start:end].tolist(), strict=True))


def _remove_dead(folder: Path, remote: Remote, segments: Sequence[Segment], progress: dict[str, Any]) -> None:
    """Delete what has died since the last time, and what lies in segments that are no more."""
    living = {segment.entry.name for segment in segments}
    for name in {label.partition("/")[0] for label in progress["done"]} - living:
        low = int(name) * _ROWS
        for part in _collections(remote):
            remote.client.delete(f"{remote.name}_{part}", filter=f"key >= {low} and key < {low + _ROWS}")
        progress["done"] = {label: n for label, n in progress["done"].items() if not label.startswith(f"{name}/")}
    for segment in segments:
        dead_N = segment.dead_passages_N
        if dead_N is None or progress["dead"].get(segment.entry.name) == segment.entry.dead:
            continue
        number = int(segment.entry.name) * _ROWS
        rows = {"passages": np.flatnonzero(dead_N), "small": np.flatnonzero(dead_N[segment.small_M3[:, 0]])}
        for part in _collections(remote):
            if len(rows[part]):
                remote.client.delete(f"{remote.name}_{part}", ids=(rows[part] + number).tolist())
        progress["dead"][segment.entry.name] = segment.entry.dead
    write_json(folder / PROGRESS, progress)


def _collections(remote: Remote) -> list[str]:
    return [part for part in ("passages", "small") if remote.client.has_collection(f"{remote.name}_{part}")]


def _make_collections(remote: Remote, width: int | None, fresh: bool) -> None:
    from pymilvus import DataType, MilvusClient

    kinds: dict[str, tuple[str, DataType, dict[str, int]]] = {"passages": ("sparse", DataType.SPARSE_FLOAT_VECTOR, {})}
    if width:
        kinds["small"] = ("dense", DataType.FLOAT_VECTOR, {"dim": width})
    for part, (field, kind, extra) in kinds.items():
        name = f"{remote.name}_{part}"
        if remote.client.has_collection(name):
            if not fresh:
                continue
            remote.client.drop_collection(name)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field(field, kind, **extra)
        indexes = MilvusClient.prepare_index_params()
        index_type = "SPARSE_INVERTED_INDEX" if field == "sparse" else "AUTOINDEX"
        indexes.add_index(field, index_type=index_type, metric_type="IP")
        remote.client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def _connect(uri: str) -> MilvusClient:
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise KoreanLLMError("Milvus needs its client; install it with `pip install 'korean-llm[milvus]'`.") from None
    try:
        return MilvusClient(uri)
    except MilvusException as error:
        raise KoreanLLMError(
            f"Milvus at {uri} does not answer ({error.message[:120]}); start it or correct the URI."
        ) from None


def _term_numbers(hashes: np.ndarray) -> np.ndarray:
    """The upper 32 bits, which is what Milvus takes; its largest number is reserved."""
    return np.minimum(hashes >> np.uint64(32), np.uint64(2**32 - 2)).astype(np.int64)


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.float32)
