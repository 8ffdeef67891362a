"""Stage `retrieval`: index the documents, and measure every arm on the recipe's questions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.corpus.card import load_card
from korean_llm.corpus.read import read_rows
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.measure.ranking import Rank, summary
from korean_llm.recipe import RetrievalSettings
from korean_llm.retrieval.fuse import Arm
from korean_llm.retrieval.index import Index, Options, checked_question

QUESTIONS = "questions.json"


def run(settings: RetrievalSettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int) -> dict[str, Any]:
    """Write an index into out; with questions, out/questions.json holds the rank of every right passage.

    Raises KoreanLLMError where documents share an id, or a question's evidence is not in its document.
    """
    options = Options(
        analyzer=settings.analyzer,
        passage_chars=settings.passage_chars,
        small_chars=settings.small_passage_chars,
        exact=settings.exact,
        dictionary=tuple(settings.dictionary),
        dense_weight=settings.dense_weight,
        fusion=settings.fusion,
        milvus=settings.milvus_uri,
        milvus_name=settings.milvus_name,
        query_prefix=settings.query_prefix,
        passage_prefix=settings.passage_prefix,
    )
    rows = _rows(settings.documents)
    index = Index.build(rows, out, encoder=inputs.get("encoder"), options=options, machine=machine)
    counts = {"documents": len(index.documents), "passages": index.state.num_passages}
    questions = list(_rows(settings.questions))
    if not questions:
        return {"counts": counts, "metrics": {}}
    ranked = [measure(index, row) for row in console.progress(questions, "measuring questions")]
    write_json(out / QUESTIONS, ranked)
    arms = ["lexical", "hybrid"] if index.dense is None else ["lexical", "dense", "hybrid"]
    metrics = {arm: summary([row["ranks"][arm] for row in ranked]) for arm in arms}
    return {"counts": {**counts, "questions": len(questions)}, "metrics": metrics}


def _rows(names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield from read_rows(load_card(name))


def measure(index: Index, row: dict[str, Any]) -> dict[str, Any]:
    """{"id", "question", "document_id", "ranks": {arm: rank}}: where each arm finds the question's evidence."""
    start, end = evidence_span(index, row)
    lexical, dense = index.arms(checked_question(row["question"]))
    arms = {"lexical": lexical, "hybrid": index.fused(lexical, dense)}
    if dense is not None:
        arms["dense"] = dense
    ranks = {name: _rank(index, arm, row["document_id"], start, end) for name, arm in arms.items()}
    return {"id": row["id"], "question": row["question"], "document_id": row["document_id"], "ranks": ranks}


def evidence_span(index: Index, row: dict[str, Any]) -> tuple[int, int]:
    """(start, end) of the evidence in its document. Raises KoreanLLMError where it is not there exactly once."""
    document = index.document(row["document_id"])
    evidence = unicodedata.normalize("NFC", row["evidence"])
    count = document.text.count(evidence) if document else 0
    if document is None or count != 1:
        where = f"occurs {count} times in" if document else "names the missing document"
        raise KoreanLLMError(
            f"question {row['id']!r}: its evidence {where} {row['document_id']!r}; correct the question."
        )
    start = document.text.index(evidence)
    return start, start + len(evidence)


def _rank(index: Index, arm: Arm, document_id: str, start: int, end: int) -> Rank:
    """Rank of the first passage that overlaps the evidence, within the best 100."""
    for rank, number in enumerate(arm.numbers.tolist(), start=1):
        id, first, last = index.place(number)
        if id == document_id and first < end and start < last:
            return rank
    return None
