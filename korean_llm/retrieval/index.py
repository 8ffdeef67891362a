"""A search index in a folder: documents, passages, lexical and dense arms, and what they were made with."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from korean_llm import console, kiwi
from korean_llm.artifact import write_json
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval.analyzer import RULES_VERSION
from korean_llm.retrieval.dense import ENCODER, VECTORS, Dense, check_encoder
from korean_llm.retrieval.fuse import fuse
from korean_llm.retrieval.lexical import Analyzer, Lexical
from korean_llm.retrieval.passages import Passage, passages

SETTINGS = "index.json"
DOCUMENTS = "documents.jsonl"
PASSAGES = "passages.npy"
MAX_QUESTION_CHARS = 10_000
_REBUILD = "build it again with `korean-llm run RECIPE --only retrieval --force`."
_FILES = {DOCUMENTS, PASSAGES, "morphemes", "bigrams", VECTORS, ENCODER, "partial.json"}
"""What an index that was not finished may have left in its folder."""


@dataclass(frozen=True)
class Hit:
    """A found passage: document.text[start:end] == text; score is the fused one, higher is better."""

    rank: int
    document_id: str
    title: str
    start: int
    end: int
    text: str
    score: float
    lexical: float
    dense: float | None


@dataclass(frozen=True)
class Document:
    """A document of the index; text is NFC."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Options:
    """How an index was made; all of it is needed to search it."""

    analyzer: Analyzer = "kiwi+bigram"
    passage_chars: int = 400
    dense_weight: float = 0.35
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "


class Index:
    """Hybrid search over passages. Make one with `build`, open one with `open`."""

    def __init__(
        self, documents: list[Document], spans: list[Passage], lexical: Lexical, dense: Dense | None, options: Options
    ) -> None:
        self.documents, self.passages = documents, spans
        self.lexical, self.dense, self.options = lexical, dense, options

    @classmethod
    def build(
        cls,
        documents: Iterable[dict[str, Any]],
        folder: str | Path,
        *,
        encoder: str | Path | None = None,
        options: Options | None = None,
        machine: Machine | None = None,
    ) -> Index:
        """Index documents ({"id", "title", "text"}, title optional) into a folder.

        encoder: a sentence-transformers folder; without one the search is lexical only. Raises KoreanLLMError
        where there is no document, an id is missing or stands twice, the encoder is none, or the folder holds
        something else.
        """
        folder, options, machine = Path(folder), options or Options(), machine or Machine()
        _check_folder(folder)
        if encoder is not None:
            check_encoder(Path(encoder))
        read = _read_documents(documents)
        spans = [
            span
            for number, document in enumerate(console.progress(read, "cutting passages"))
            for span in passages(number, document.text, options.passage_chars)
        ]
        texts = [f"{read[span.document].title}\n{read[span.document].text[span.start : span.end]}" for span in spans]
        if not spans:
            raise KoreanLLMError(f"none of the {len(read)} documents holds any text; there is nothing to index.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).unlink(missing_ok=True)  # written last: without it, there is no index to open
        lexical = Lexical.build(texts, options.analyzer)
        dense = None
        if encoder is not None:
            prefixes = options.query_prefix, options.passage_prefix
            dense = Dense.build(texts, Path(encoder), *prefixes, machine)
            dense.save(folder, Path(encoder))
        lexical.save(folder)
        index = cls(read, spans, lexical, dense, options)
        index._save(folder)
        return index

    def _save(self, folder: Path) -> None:
        with (folder / DOCUMENTS).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(vars(document), ensure_ascii=False) + "\n" for document in self.documents)
        spans = [(span.document, span.start, span.end) for span in self.passages]
        np.save(folder / PASSAGES, np.array(spans, dtype=np.int64))
        made_with = {"kiwipiepy": kiwi.version(), "rules": RULES_VERSION, "dense": self.dense is not None}
        write_json(folder / SETTINGS, {**vars(self.options), **made_with})

    @classmethod
    def open(cls, folder: str | Path, machine: Machine | None = None) -> Index:
        """Open an index folder.

        Raises KoreanLLMError where there is none, it is damaged, or it was made by another Kiwi or other rules.
        """
        folder = Path(folder)
        if not (folder / SETTINGS).is_file():
            raise KoreanLLMError(
                f"{folder} holds no search index; make one with Index.build or a run's retrieval stage."
            )
        try:
            return cls._open(folder, machine or Machine())
        except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise KoreanLLMError(f"the index {folder} cannot be opened: {reason}; {_REBUILD}") from None

    @classmethod
    def _open(cls, folder: Path, machine: Machine) -> Index:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        made_with = (settings.pop("kiwipiepy"), settings.pop("rules"))
        here = (kiwi.version(), RULES_VERSION)
        if made_with != here:
            raise KoreanLLMError(
                f"the index {folder} was made with kiwipiepy {made_with[0]} and rules {made_with[1]}, here are"
                f" {here[0]} and {here[1]}; {_REBUILD}"
            )
        has_dense = settings.pop("dense")
        options = Options(**settings)
        with (folder / DOCUMENTS).open(encoding="utf-8") as file:  # by line feeds only: text may hold U+2028
            documents = [Document(**json.loads(line)) for line in file]
        spans = [Passage(*map(int, row)) for row in np.load(folder / PASSAGES)]
        lexical = Lexical.open(folder, options.analyzer)
        prefixes = options.query_prefix, options.passage_prefix
        dense = Dense.open(folder, *prefixes, machine) if has_dense else None
        return cls(documents, spans, lexical, dense, options)

    def search(self, question: str, k: int = 10) -> list[Hit]:
        """The k best passages. Raises KoreanLLMError for an empty question or one of over 10,000 characters."""
        question = checked_question(question)
        lexical_N, dense_N = self.arms(question)
        fused_N = fuse(lexical_N, dense_N, self.options.dense_weight)
        return [
            self._hit(rank, number, fused_N, lexical_N, dense_N)
            for rank, number in enumerate(best(fused_N, k), start=1)
        ]

    def arms(self, question: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Raw lexical and dense scores of all passages, each (N,); no dense scores without an encoder."""
        return self.lexical.scores(question), self.dense.scores(question) if self.dense else None

    def document(self, id: str) -> Document | None:
        """The document of an id, or None."""
        return next((document for document in self.documents if document.id == id), None)

    def _hit(
        self, rank: int, number: int, fused_N: np.ndarray, lexical_N: np.ndarray, dense_N: np.ndarray | None
    ) -> Hit:
        span = self.passages[number]
        document = self.documents[span.document]
        return Hit(
            rank=rank,
            document_id=document.id,
            title=document.title,
            start=span.start,
            end=span.end,
            text=document.text[span.start : span.end],
            score=float(fused_N[number]),
            lexical=float(lexical_N[number]),
            dense=None if dense_N is None else float(dense_N[number]),
        )


def best(scores_N: np.ndarray, k: int) -> list[int]:
    """Numbers of the k best passages, best first; ties go to the earlier passage."""
    return [int(number) for number in np.argsort(-scores_N, kind="stable")[:k]]


def checked_question(question: str) -> str:
    """The question in NFC without outer space. Raises KoreanLLMError where it is empty or too long."""
    question = unicodedata.normalize("NFC", question).strip()
    if not _is_unicode(question):
        raise KoreanLLMError("the question holds half a surrogate pair, which is no text; type it again.")
    if not question:
        raise KoreanLLMError("the question is empty; type what you are looking for.")
    if len(question) > MAX_QUESTION_CHARS:
        raise KoreanLLMError(
            f"the question has {len(question):,} characters, at most {MAX_QUESTION_CHARS:,} are searched; shorten it."
        )
    return question


def _is_unicode(text: str) -> bool:
    """False for text with lone surrogates, which can be neither analysed nor written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise KoreanLLMError(f"{folder} is a file; give a folder to write the index into.")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if SETTINGS not in names and names - _FILES:
        raise KoreanLLMError(f"{folder} exists and holds no index; choose an empty folder.")


def _read_documents(documents: Iterable[dict[str, Any]]) -> list[Document]:
    read: list[Document] = []
    seen: set[str] = set()
    for number, row in enumerate(documents):
        for field in ("id", "text"):
            if not isinstance(row.get(field), str):
                raise KoreanLLMError(f"document {number}: expected text in {field!r}, found {row.get(field)!r}.")
        if row["id"] in seen:
            raise KoreanLLMError(f"document {number}: the id {row['id']!r} stands twice; ids must be different.")
        seen.add(row["id"])
        text, title = (unicodedata.normalize("NFC", row.get(field) or "") for field in ("text", "title"))
        if not (_is_unicode(text) and _is_unicode(title)):
            raise KoreanLLMError(f"document {row['id']!r} holds half a surrogate pair, which is no text; mend it.")
        read.append(Document(row["id"], title, text))
    if not read:
        raise KoreanLLMError("there is no document to index; give at least one.")
    return read
