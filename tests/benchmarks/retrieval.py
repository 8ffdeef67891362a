"""Retrieval quality side by side, on the Korean sets that lie in ../shared/data/retrieval.

    python tests/benchmarks/retrieval.py [ENCODER_FOLDER [INDEX_FOLDER]]

Every system searches the same passages with the same vectors and is scored by documents. With INDEX_FOLDER the indexes
are kept and used again. LangChain-style: BM25 Okapi over words between spaces, and with vectors equal RRF;
llama-index-style: bm25s over words of two characters or more, and with vectors equal RRF. Below the table: our lexical
and hybrid search when all spaces are taken out of the questions, and when one jamo of each is mistyped.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np

from korean_llm.kiwi import analyse
from korean_llm.measure.ranking import Rank, ndcg_at, recall_at
from korean_llm.retrieval import Index
from korean_llm.retrieval.beir import Question, load_beir
from korean_llm.retrieval.cut import passage_text
from korean_llm.retrieval.fuse import RRF_K, Arm

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval"
SETS = ("parakqc", "legal")
Ranking = Callable[[str], list[int]]


def okapi(texts: list[str]) -> Ranking:
    """LangChain's BM25Retriever: rank_bm25's Okapi, k1 = 1.5, b = 0.75, words between spaces."""
    index = bm25s.BM25(k1=1.5, b=0.75, method="atire")
    return _lexical(index, texts, lambda found: [text.split() for text in found])


def words(texts: list[str]) -> Ranking:
    """llama-index' BM25Retriever: bm25s with its own words."""
    pattern = re.compile(r"(?u)\b\w\w+\b")
    return _lexical(bm25s.BM25(), texts, lambda found: [pattern.findall(text.lower()) for text in found])


def naive_kiwi(texts: list[str]) -> Ranking:
    """All morphemes, particles and endings too."""
    return _lexical(bm25s.BM25(), texts, lambda found: [[m.form for m in morphemes] for morphemes in analyse(found)])


def _lexical(index: bm25s.BM25, texts: list[str], cut: Callable[[list[str]], list[list[str]]]) -> Ranking:
    index.index(cut(texts), show_progress=False)

    def ranking(question: str) -> list[int]:
        scores_N = np.asarray(index.get_scores(cut([question])[0]))
        return np.argsort(-scores_N, kind="stable").tolist()

    return ranking


def equal_rrf(*rankings: Ranking) -> Ranking:
    """Reciprocal-rank fusion as the frameworks do it: the best 100 of each arm, equal weights, k = 60."""

    def ranking(question: str) -> list[int]:
        scores: dict[int, float] = {}
        for one in rankings:
            for rank, number in enumerate(one(question)[:100], start=1):
                scores[number] = scores.get(number, 0.0) + 1 / (RRF_K + rank)
        return sorted(scores, key=lambda number: -scores[number])

    return ranking


def systems(index: Index) -> dict[str, Ranking]:
    """Name → ranking of passages, best first."""
    texts = [passage_text(*_title_and_text(index, number)) for number in range(index.state.num_passages)]
    vectors: dict[str, np.ndarray] = {}

    def arms(question: str) -> tuple[Arm, Arm | None]:
        if index.dense is not None and question not in vectors:
            vectors[question] = index.dense.encoder.query(question)
        return index.arms(question, vectors.get(question))

    def dense(question: str) -> list[int]:
        found = arms(question)[1]
        return [] if found is None else found.numbers.tolist()

    found = {"whitespace BM25 (LangChain-style)": okapi(texts), "bm25s' words (llama-index-style)": words(texts)}
    found |= {"naive Kiwi BM25": naive_kiwi(texts), "**ours, lexical**": lambda q: arms(q)[0].numbers.tolist()}
    if index.dense is not None:
        found["dense alone"] = dense
        found["LangChain-style hybrid"] = equal_rrf(okapi(texts), dense)
        found["llama-index-style hybrid"] = equal_rrf(words(texts), dense)
        found["naive Kiwi + dense, equal RRF"] = equal_rrf(naive_kiwi(texts), dense)
        found["**ours, hybrid**"] = lambda q: index.fused(*arms(q)).numbers.tolist()
    return found


def _title_and_text(index: Index, number: int) -> tuple[str, str]:
    id, start, end = index.place(number)
    document = index.document(id)
    assert document is not None
    return document.title, document.text[start:end]


def document_rank(index: Index, ranking: list[int], question: Question) -> Rank:
    """Rank of the first right document."""
    ids = list(dict.fromkeys(index.place(number)[0] for number in ranking))
    return next((rank for rank, id in enumerate(ids, start=1) if question.relevant.get(id, 0) > 0), None)


def mistyped(text: str, dice: random.Random) -> str:
    """The text with one jamo of one syllable exchanged for another."""
    at = dice.choice([at for at, letter in enumerate(text) if "가" <= letter <= "힣"])
    code = ord(text[at]) - ord("가")
    jamo, sizes = [code // 588, code // 28 % 21, code % 28], (19, 21, 28)
    place = dice.randrange(3)
    jamo[place] = dice.choice([other for other in range(sizes[place]) if other != jamo[place]])
    return text[:at] + chr(ord("가") + jamo[0] * 588 + jamo[1] * 28 + jamo[2]) + text[at + 1 :]


def main() -> None:
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    encoder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder)
        for name in SETS:
            documents, asked = load_beir(DATA, name)
            if not (place / name / "index.json").exists():
                Index.build(documents, place / name, encoder=encoder)
            measure(name, Index.open(place / name), asked)


def measure(name: str, index: Index, asked: list[Question]) -> None:
    """Print a table as Markdown."""
    print(f"\n{name}: {len(index.documents)} documents, {index.state.num_passages} passages, {len(asked)} questions\n")
    print("| system | R@1 | nDCG@10 |\n|---|---|---|")
    ours = {}
    for label, ranking in systems(index).items():
        report(label, [document_rank(index, ranking(question.text), question) for question in asked])
        if "ours" in label:
            ours[label] = ranking
    for label, ranking in ours.items():
        dice = random.Random(17)
        report(
            f"{label.strip('*')}, spaces out",
            [document_rank(index, ranking(question.text.replace(" ", "")), question) for question in asked],
        )
        report(
            f"{label.strip('*')}, one typo",
            [document_rank(index, ranking(mistyped(question.text, dice)), question) for question in asked],
        )


def report(label: str, ranks: list[Rank]) -> None:
    print(f"| {label} | {recall_at(ranks, 1):.3f} | {ndcg_at(ranks, 10):.3f} |", flush=True)


if __name__ == "__main__":
    main()
