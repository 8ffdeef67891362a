"""Retrieval quality side by side, on the Korean sets that lie in ../shared/data/retrieval.

    python tests/benchmarks/retrieval.py [ENCODER_FOLDER [INDEX_FOLDER]]

Every arm searches the same passages and is scored by documents. With INDEX_FOLDER the indexes are kept and used again.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np

from korean_llm.kiwi import analyse
from korean_llm.measure.ranking import ndcg_at, recall_at
from korean_llm.retrieval import Index
from korean_llm.retrieval.fuse import fuse
from korean_llm.retrieval.index import Options, best

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval"
Rows = list[dict]


def rows(name: str) -> Rows:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def field(row: dict, *names: str) -> str:
    return next(str(row[name]) for name in names if name in row)


def load(name: str) -> tuple[list[dict[str, str]], list[tuple[str, set[str]]]]:
    """(documents, [(question, ids of right documents)]) of a set in BEIR layout."""
    documents = [
        {"id": field(row, "_id", "id"), "title": row.get("title") or "", "text": row["text"]}
        for row in rows(f"{name}_corpus")
    ]
    right: dict[str, set[str]] = {}
    for row in rows(f"{name}_qrels"):
        if int(field(row, "score", "relevance")) > 0:
            right.setdefault(field(row, "query-id", "query_id", "qid"), set()).add(
                field(row, "corpus-id", "corpus_id", "doc_id")
            )
    questions = [(row["text"], right[field(row, "_id", "id")]) for row in rows(f"{name}_queries")]
    return documents, questions


def peer(texts: list[str], cut: Callable[[list[str]], list[list[str]]]) -> Callable[[str], np.ndarray]:
    """BM25 with bm25s' defaults over another way of cutting words."""
    index = bm25s.BM25()
    index.index(cut(texts), show_progress=False)
    return lambda question: np.asarray(index.get_scores(cut([question])[0]))


def naive_kiwi(texts: list[str]) -> list[list[str]]:
    return [[morpheme.form for morpheme in morphemes] for morphemes in analyse(texts)]


def by_document(index: Index, scores_N: np.ndarray) -> list[str]:
    ids: list[str] = []
    for number in best(scores_N, len(scores_N)):
        id = index.documents[index.passages[number].document].id
        if id not in ids:
            ids.append(id)
    return ids


def main() -> None:
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    encoder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    kept = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    for name in ("parakqc", "legal"):
        documents, questions = load(name)
        with tempfile.TemporaryDirectory() as folder:
            place = (kept or Path(folder)) / name
            if not (place / "index.json").exists():
                Index.build(documents, place, encoder=encoder, options=Options())
            index = Index.open(place)
            texts = [
                f"{index.documents[p.document].title}\n{index.documents[p.document].text[p.start : p.end]}"
                for p in index.passages
            ]
            systems = {
                "whitespace": peer(texts, lambda part: [text.split() for text in part]),
                "naive Kiwi, all morphemes": peer(texts, naive_kiwi),
                "ours, lexical": index.lexical.scores,
            }
            if index.dense is not None:
                systems["dense alone"] = index.dense.scores
                systems["ours, hybrid"] = lambda q: fuse(*index.arms(q), index.options.dense_weight)  # noqa: B023
            print(f"{name}: {len(documents)} documents, {len(texts)} passages, {len(questions)} questions")
            for label, score in systems.items():
                ranks = []
                for question, right in questions:
                    found = by_document(index, score(question))
                    ranks.append(next((rank for rank, id in enumerate(found, start=1) if id in right), None))
                print(f"  {label:28} R@1 {recall_at(ranks, 1):.3f}  nDCG@10 {ndcg_at(ranks, 10):.3f}")


if __name__ == "__main__":
    main()
