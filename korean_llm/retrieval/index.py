"""A search index in a folder: build it, open it, search it, and let it grow document by document."""

from __future__ import annotations

import heapq
import json
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xxhash
from safetensors import SafetensorError

from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import store, writer
from korean_llm.retrieval.analyzer import analyzer
from korean_llm.retrieval.cut import Document, is_unicode, passage_text
from korean_llm.retrieval.expand import language_model
from korean_llm.retrieval.files import as_rows
from korean_llm.retrieval.fuse import TOP, Arm, fuse, mean_scores
from korean_llm.retrieval.lexical import Lexical, Question
from korean_llm.retrieval.rerank import RERANKED, rerank
from korean_llm.retrieval.segment import Segment
from korean_llm.retrieval.store import INDEX, SEGMENTS, Options, State

if TYPE_CHECKING:
    from korean_llm.retrieval.dense import Dense
    from korean_llm.retrieval.encoder import Encoder
    from korean_llm.retrieval.milvus import Remote

__all__ = ["INDEX", "Document", "Hit", "Index", "Options", "checked_question"]

MAX_QUESTION_CHARS = 10_000


class Hit(NamedTuple):
    """A found passage: document.text[start:end] == text; score is the fused one, higher is better.

    focus: (start, end) in the document of the small passage, inside this one, that is nearest in meaning; None
    without a dense arm.
    """

    rank: int
    document_id: str
    title: str
    start: int
    end: int
    text: str
    score: float
    lexical: float
    dense: float | None
    focus: tuple[int, int] | None = None


class Documents(Sequence[Document]):
    """The living documents of an index, read one by one as they are asked for."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments

    def __len__(self) -> int:
        return sum(segment.entry.documents for segment in self._segments)

    def __iter__(self) -> Iterator[Document]:
        for segment in self._segments:
            yield from (segment.document(int(number)) for number in segment.living())

    def __getitem__(self, number: int) -> Document:  # type: ignore[override]
        for segment in self._segments:
            if number < segment.entry.documents:
                return segment.document(int(segment.living()[number]))
            number -= segment.entry.documents
        raise IndexError(number)


class Index:
    """Hybrid search over passages. Make one with `build`, open one with `open`; `add`, `update` and `delete` grow it.

    An open index keeps answering from what it opened, whatever other processes write meanwhile.
    """

    def __init__(self, folder: Path, state: State, segments: list[Segment], dense: Dense | None) -> None:
        self.folder, self.state, self.dense = folder, state, dense
        self.options = state.options
        self.documents = Documents(segments)
        self._segments = segments
        self._remote = self._opened_remote()
        self._offsets = np.concatenate([[0], np.cumsum([len(segment.passages_N5) for segment in segments])])
        self._starts: list[int] = self._offsets.tolist()
        self._small_offsets = np.concatenate([[0], np.cumsum([len(segment.small_M3) for segment in segments])])
        self.lexical = Lexical(
            analyzer(self.options.analyzer, self.options.exact, self.options.dictionary),
            [(segment.postings, segment.dead_passages_N, segment.dead_terms_T) for segment in segments],
            state.num_passages,
            [sum(entry.lengths[field] for entry in state.segments) for field in range(2)],
        )

    def _opened_remote(self) -> Remote | None:
        """The Milvus that does the searches, if the options name one."""
        if self.options.milvus is None:
            return None
        from korean_llm.retrieval.milvus import Remote

        return Remote(self.options.milvus, self.options.milvus_name, self._segments)

    @property
    def fingerprint(self) -> str:
        """What the index holds and how it searches, as 32 hex digits; another after every add, update and delete.

        Two indexes of the same segments have the same one, wherever they lie. Each segment is read once (GB/s).
        """
        made = json.dumps([vars(self.options), self.state.encoder, self.state.made_with], sort_keys=True, default=str)
        parts = [made, *(segment.fingerprint for segment in self._segments)]
        return xxhash.xxh3_128_hexdigest("\n".join(parts).encode())

    def sync(self) -> int:
        """Bring the Milvus of the options up to date; an interrupted one goes on. Returns the rows written.

        Raises KoreanLLMError where the options name none, or it does not answer.
        """
        from korean_llm.retrieval import milvus

        if self._remote is None:
            raise KoreanLLMError(f"the index {self.folder} has no Milvus; build it with options.milvus, a URI.")
        width = self.dense.encoder.width if self.dense else None
        return milvus.sync(self.folder, self._remote, self._segments, self.lexical.means_F, width)

    @classmethod
    def build(
        cls,
        documents: Iterable[dict[str, Any] | str | Path],
        folder: str | Path,
        *,
        encoder: str | Path | None = None,
        options: Options | None = None,
        machine: Machine | None = None,
    ) -> Index:
        """Index documents ({"id", "title", "text"}, title optional) into a folder; an index that is there is replaced.

        Paths of files and folders may stand among them: txt, md, html, pdf, docx, hwp, hwpx, csv, jsonl, parquet.
        A document may bring its own passages as "spans": [[start, end], …] in characters.
        encoder: a sentence-transformers folder; without one the search is lexical only. Raises KoreanLLMError
        where there is no document, an id is missing or stands twice, the encoder is none, or the folder holds
        something else.
        """
        machine = machine or Machine()
        source = Path(encoder) if encoder is not None else None
        options = options or Options()
        writer.build(as_rows(documents, options.passage_chars), Path(folder), source, options, machine)
        index = cls.open(folder, machine)
        if index.options.milvus:
            index.sync()
        return index

    @classmethod
    def open(cls, folder: str | Path, machine: Machine | None = None, *, encoder: Encoder | None = None) -> Index:
        """Open an index folder. encoder: the index's own, where it is open already.

        Raises KoreanLLMError where there is none, it is damaged, or it was made by another Kiwi or other rules.
        """
        folder = Path(folder)
        try:
            state = store.read_state(folder)
            while True:
                try:
                    return cls._open(folder, state, machine or Machine(), encoder)
                except FileNotFoundError:  # another process may have replaced segments between the two reads
                    before, state = state, store.read_state(folder)
                    if before.generation == state.generation:
                        raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise KoreanLLMError(
                f"the index {folder} cannot be opened: {reason}; {store.rebuild_command(folder)}"
            ) from None

    @classmethod
    def _open(cls, folder: Path, state: State, machine: Machine, encoder: Encoder | None) -> Index:
        store.check_fits(folder, state)
        segments = [Segment(folder / SEGMENTS / entry.name, entry) for entry in state.segments]
        dense = None
        if state.encoder:
            from korean_llm.retrieval.dense import open_dense
            from korean_llm.retrieval.encoder import Encoder

            prefixes = state.options.query_prefix, state.options.passage_prefix
            dense = open_dense(encoder or Encoder(folder / state.encoder, *prefixes, machine), segments)
        return cls(folder, state, segments, dense)

    def add(self, documents: Iterable[dict[str, Any] | str | Path], machine: Machine | None = None) -> None:
        """Add documents; the cost is theirs alone. Raises KoreanLLMError where an id is in the index already."""
        self._write(writer.add, as_rows(documents, self.options.passage_chars), machine)

    def update(self, documents: Iterable[dict[str, Any] | str | Path], machine: Machine | None = None) -> None:
        """Add documents, each in place of the one that has its id, if there is one."""
        self._write(writer.update, as_rows(documents, self.options.passage_chars), machine)

    def delete(self, ids: Iterable[str], machine: Machine | None = None) -> None:
        """Delete documents. Raises KoreanLLMError where an id is not in the index."""
        self._write(writer.delete, list(ids), machine)

    def compact(self, machine: Machine | None = None) -> None:
        """Make one segment of all, without what is dead. Growth does so by itself where it pays."""
        self._write(writer.compact, None, machine)

    def _write(self, work: Any, what: Any, machine: Machine | None) -> None:
        encoder = self.dense.encoder if self.dense else None
        work(self.folder, what, encoder, machine or Machine())
        fresh = Index.open(self.folder, machine, encoder=encoder)
        self.__dict__.update(fresh.__dict__)
        if self.options.milvus:
            self.sync()

    def search(self, question: str, k: int = 10) -> list[Hit]:
        """The k best passages. Raises KoreanLLMError for an empty question or one of over 10,000 characters."""
        question = checked_question(question)
        asked = self.lexical.question(question)
        query_D = self.dense.encoder.query(question) if self.dense else None
        plain = self.dense is None and self.options.expansion == "none" and self.options.reranker is None
        best = self._lexical_arm(asked, k) if plain else self.ranked(question)
        return self._hits(self._filled(best, k), None if plain else asked, query_D)

    def ranked(self, question: str, options: Options | None = None) -> Arm:
        """The best 100 passages after every stage that the options (by default the index's own) switch on."""
        options = options or self.options
        best = self._expanded(question, options)
        if options.reranker is None:
            return best
        texts = [self.text(int(number)) for number in best.numbers[:RERANKED]]
        return Arm(*self._ordered(*rerank(options.reranker, question, texts, best, options.rerank_weight)))

    def _expanded(self, question: str, options: Options) -> Arm:
        if options.expansion == "none":
            return self.fused(*self.arms(question), options)
        model = language_model(options.endpoint, options.endpoint_model)
        if options.expansion == "hyde":
            if self.dense is None:
                raise KoreanLLMError("HyDE needs an index with an encoder; make one with --encoder, or switch it off.")
            vectors_MD = [self.dense.encoder.query(question), *self.dense.encoder.passages(model.passages(question))]
            return self.fused(*self.arms(question, np.mean(vectors_MD, axis=0)), options)
        asked = [question, *model.questions(question)]
        found = [self.fused(*self.arms(one), options) for one in asked]
        numbers, scores = self._ordered(*mean_scores(found))
        return Arm(numbers[:TOP], scores[:TOP])

    def fused(self, lexical: Arm, dense: Arm | None, options: Options | None = None) -> Arm:
        """Both arms as one, best 100 first."""
        options = options or self.options
        found = fuse(lexical, dense, options.dense_weight, options.fusion)
        numbers, scores = self._ordered(found.numbers, found.scores)
        return Arm(numbers[:TOP], scores[:TOP], found.num_unseen)

    def arms(self, question: str, query_D: np.ndarray | None = None) -> tuple[Arm, Arm | None]:
        """The best 100 passages of the lexical and of the dense arm; query_D: a vector in place of the question's."""
        lexical = self._lexical_arm(self.lexical.question(question), TOP)
        if self.dense is None:
            return lexical, None
        return lexical, self._dense_arm(self.dense.encoder.query(question) if query_D is None else query_D)

    def text(self, number: int) -> str:
        """What is indexed of a passage: its document's title and its own text."""
        segment, (document, _, _, first, last) = self._row(number)
        return passage_text(segment.titles[document], segment.texts.part(document, first, last))

    def _lexical_arm(self, asked: Question, k: int) -> Arm:
        found = self._remote.lexical(asked, k) if self._remote else self.lexical.search(asked, k)
        numbers, scores = self._ordered(*found)
        numbers, scores = numbers[:k], scores[:k]
        return Arm(numbers, scores, max(min(TOP, self.state.num_passages) - len(numbers), 0))

    def _dense_arm(self, query_D: np.ndarray) -> Arm:
        if self._remote is not None:
            return Arm(*self._ordered(*self._remote.dense(query_D, TOP)))
        assert self.dense is not None
        numbers, scores, _ = self.dense.search(query_D, TOP)
        return Arm(*self._ordered(numbers, scores))

    def _ordered(self, numbers: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Best first; ties in the order of document ids and places, whatever segments they lie in."""
        if len(scores) < 2 or (scores[1:] != scores[:-1]).all():
            return numbers, scores
        best_first, places = (-scores).tolist(), [self.place(number) for number in numbers.tolist()]
        order = sorted(range(len(scores)), key=lambda at: (best_first[at], places[at]))
        return numbers[order], scores[order]

    def _filled(self, arm: Arm, k: int) -> Arm:
        """The best k; where fewer passages match, others follow with the score of what was not found."""
        numbers, scores = arm.numbers, arm.scores
        if self.dense is None and len(numbers) < min(k, self.state.num_passages):
            taken = set(numbers.tolist())
            others = (number for number in self._passages() if number not in taken)
            numbers = np.append(numbers, np.array(list(islice(others, k - len(taken))), np.int64))
            scores = np.append(scores, np.zeros(len(numbers) - len(scores)))
        return Arm(numbers[:k], scores[:k])

    def _passages(self) -> Iterator[int]:
        """All living passages in an order that does not depend on the segments they lie in."""
        parts = zip(self._segments, self._offsets.tolist(), strict=False)
        hashed = heapq.merge(*(_keyed(one, offset) for one, offset in parts))
        for _, offset, number, segment in hashed:
            low, high = np.searchsorted(segment.passages_N5[:, 0], [number, number + 1])
            yield from range(offset + int(low), offset + int(high))

    def document(self, id: str) -> Document | None:
        """The document of an id, or None."""
        for segment in self._segments:
            if (number := segment.find(id)) is not None:
                return segment.document(number)
        return None

    def place(self, number: int) -> tuple[str, int, int]:
        """(document id, start, end) of a passage, in characters."""
        segment, (document, start, end, _, _) = self._row(number)
        return segment.ids[document], start, end

    def _row(self, number: int) -> tuple[Segment, list[int]]:
        at = bisect_right(self._starts, number) - 1
        segment = self._segments[at]
        return segment, segment.passages_N5[number - self._starts[at]].tolist()

    def _hits(self, best: Arm, asked: Question | None, query_D: np.ndarray | None) -> list[Hit]:
        """The hits of an arm; asked: the question, where its lexical scores are not those of the arm."""
        numbers, scores = best.numbers.tolist(), best.scores.tolist()
        lexical = scores if asked is None else self.lexical.scores_of(asked, best.numbers).tolist()
        dense: Iterable[float | None] = repeat(None)
        focus: Iterable[tuple[int, int] | None] = repeat(None)
        if self.dense is not None and query_D is not None:
            similar, small = self.dense.scores_of(query_D, numbers)
            dense, focus = similar.tolist(), [None if n < 0 else self._small_span(n) for n in small.tolist()]
        return list(map(self._hit, count(1), numbers, scores, lexical, dense, focus))

    def nearness(self, question: str, hit: Hit) -> list[tuple[int, int, float]]:
        """(start, end, cosine with the question) of the small passages of a hit, in characters of its document.

        Empty without an encoder, and for a passage that is not in the index.
        """
        number = self._number(hit) if self.dense is not None else None
        if self.dense is None or number is None:
            return []
        first, scores = self.dense.small_scores(self.dense.encoder.query(question), number)
        return [(*self._small_span(first + at), score) for at, score in enumerate(scores.tolist())]

    def _number(self, hit: Hit) -> int | None:
        """The number of the living passage that a hit is."""
        for segment, offset in zip(self._segments, self._starts, strict=False):
            if (document := segment.find(hit.document_id)) is not None:
                low, high = np.searchsorted(segment.passages_N5[:, 0], [document, document + 1])
                starts = segment.passages_N5[low:high, 1].tolist()
                return offset + int(low) + starts.index(hit.start) if hit.start in starts else None
        return None

    def _small_span(self, number: int) -> tuple[int, int]:
        at = int(np.searchsorted(self._small_offsets, number, side="right")) - 1
        _, start, end = self._segments[at].small_M3[number - self._small_offsets[at]].tolist()
        return start, end

    def _hit(
        self,
        rank: int,
        number: int,
        score: float,
        lexical: float,
        dense: float | None,
        focus: tuple[int, int] | None,
    ) -> Hit:
        segment, (document, start, end, first, last) = self._row(number)
        text = segment.texts.part(document, first, last)
        return Hit(
            rank, segment.ids[document], segment.titles[document], start, end, text, score, lexical, dense, focus
        )


def _keyed(segment: Segment, offset: int) -> Iterator[tuple[int, int, int, Segment]]:
    """(hash of the id, offset, document, segment) of a segment's living documents, by hash."""
    return ((key, offset, number, segment) for key, number in segment.by_hash())


def checked_question(question: str) -> str:
    """The question in NFC without outer space. Raises KoreanLLMError where it is empty or too long."""
    if not is_unicode(question):
        raise KoreanLLMError("the question holds half a surrogate pair, which is no text; type it again.")
    if len(question) > MAX_QUESTION_CHARS:
        raise KoreanLLMError(
            f"the question has {len(question):,} characters, at most {MAX_QUESTION_CHARS:,} are searched; shorten it."
        )
    question = unicodedata.normalize("NFC", question).strip()
    if not question:
        raise KoreanLLMError("the question is empty; type what you are looking for.")
    return question
