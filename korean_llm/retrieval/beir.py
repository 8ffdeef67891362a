"""Question sets in BEIR's layout (Thakur et al. 2021): documents, questions, and which documents are right.

Either FOLDER/corpus.jsonl, queries.jsonl and qrels/test.tsv, as BEIR publishes them, or FOLDER/NAME_corpus.jsonl,
NAME_queries.jsonl and NAME_qrels.jsonl; each may be compressed (.gz).
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from korean_llm.errors import KoreanLLMError


@dataclass(frozen=True)
class Question:
    """A question, and document id → how right it is (0: not at all)."""

    id: str
    text: str
    relevant: dict[str, int] = field(default_factory=dict)


def load_beir(folder: Path, name: str | None = None) -> tuple[list[dict[str, str]], list[Question]]:
    """(documents as {"id", "title", "text"}, questions that have a right document).

    Raises KoreanLLMError where a file is missing, a row lacks a field, or no question has a right document.
    """
    questions = load_questions(folder, name)
    rows = _read(_find(folder, name, "corpus"))
    documents = [{"id": _field(row, "_id", "id"), "title": row.get("title") or "", "text": row["text"]} for row in rows]
    return documents, questions


def load_questions(folder: Path, name: str | None = None) -> list[Question]:
    """The questions alone, for an index that holds the documents already. Raises KoreanLLMError as load_beir does."""
    right: dict[str, dict[str, int]] = {}
    for row in _read(_find(folder, name, "qrels")):
        question = _field(row, "query-id", "query_id", "qid")
        document = _field(row, "corpus-id", "corpus_id", "doc_id")
        right.setdefault(question, {})[document] = int(_field(row, "score", "relevance"))
    asked = [
        Question(_field(row, "_id", "id"), row["text"], right.get(_field(row, "_id", "id"), {}))
        for row in _read(_find(folder, name, "queries"))
    ]
    found = [question for question in asked if any(grade > 0 for grade in question.relevant.values())]
    if not found:
        raise KoreanLLMError(f"{folder} holds no question with a right document; check its queries and qrels.")
    return found


def _find(folder: Path, name: str | None, part: str) -> Path:
    stem = f"{name}_{part}" if name else part
    tables = [f"{stem}.jsonl", f"{stem}.jsonl.gz"]
    if part == "qrels":
        tables += [f"{stem}.tsv", "qrels/test.tsv", "qrels/dev.tsv", "qrels/train.tsv"]
    for table in tables:
        if (folder / table).is_file():
            return folder / table
    raise KoreanLLMError(f"{folder} holds no {tables[0]}; expected a question set in BEIR's layout.")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        if path.suffix == ".tsv":
            yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise KoreanLLMError(f"{path} line {number} is not JSON ({error.msg}); mend it.") from None


def _field(row: dict[str, Any], *names: str) -> str:
    for name in names:
        if name in row:
            return str(row[name])
    raise KoreanLLMError(
        f"expected a field {names[0]!r} in a row of the question set, found {', '.join(map(str, row))}."
    )
