"""Speed of search, side by side with peers in one run, on the Korean corpora that lie in ../shared/data/corpus.

    python tests/benchmarks/search_speed.py bulk      # 50 MB: our analysis and counting against naive Kiwi
    python tests/benchmarks/search_speed.py query     # 100,000 passages: us, bm25s (numba) and tantivy
    python tests/benchmarks/search_speed.py dense     # 250,000 vectors: the kind we choose against Flat
    python tests/benchmarks/search_speed.py growth    # 1 % more documents against a full build

A number behind the name takes the place of the size. One thread each; times are medians over questions, taken in turn,
of the best of three rounds: the first one meets pages that are not mapped yet. Peers get their terms ready made, as
numbers (bm25s) or a query (tantivy), and give back numbers of passages; ours is timed with and without the analysis of
the question's text and the reading of ten hits.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import bm25s
import faiss
import numpy as np

from korean_llm.kiwi import analyse
from korean_llm.machine import Machine
from korean_llm.retrieval import Index, Options
from korean_llm.retrieval.analyzer import Analyzer, analyzer
from korean_llm.retrieval.bulk import count_texts
from korean_llm.retrieval.cut import cut, passage_text, read_documents
from korean_llm.retrieval.lexical import K1, B, Postings
from korean_llm.retrieval.vectors import Vectors, build
from korean_llm.retrieval.workers import Workers

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"
CORPORA = ("legal_precedents", "msdocs_human_translated")
MACHINE = Machine("cpu", 1)
ROUNDS = 3


def documents(max_bytes: float) -> Iterator[dict[str, str]]:
    """Documents of two corpora, half of the bytes each."""
    for name in CORPORA:
        num_bytes = 0
        with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                num_bytes += len(row["text"].encode())
                if num_bytes > max_bytes / len(CORPORA):
                    break
                yield {**row, "id": f"{name}-{row['id']}"}


def passage_texts(max_bytes: float) -> list[str]:
    """What is indexed of their passages."""
    read = list(read_documents(documents(max_bytes)))
    rows = cut(read, 400, 0).passages_N5.tolist()
    return [passage_text(read[d].title, read[d].text[start:end]) for d, start, end, *_ in rows]


def cpu_seconds() -> float:
    """CPU time of this process and its ended children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def counted(texts: list[str], workers: int) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of analysing and counting the texts."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    own = Analyzer()  # one that knows no words yet
    own.terms("가")
    with Workers(own, workers, sum(map(len, texts))) as pool:
        Postings.of(count_texts(own, texts, pool))
    return cpu_seconds() - cpu, time.perf_counter() - wall


def bulk(megabytes: int = 50) -> None:
    """Analysis and counting per CPU-second, and two processes against one, in turns; medians of three rounds."""
    texts = passage_texts(megabytes * 1e6)
    counted(texts[:100], 1)  # compiles, loads Kiwi
    num_chars = sum(map(len, texts))
    sample = random.Random(17).sample(texts, len(texts) // 25)
    cpu = cpu_seconds()
    index = bm25s.BM25()
    index.index([[morpheme.form for morpheme in found] for found in analyse(sample)], show_progress=False)
    naive = sum(map(len, sample)) / (cpu_seconds() - cpu)
    ones, twos = zip(*((counted(texts, 1), counted(texts, 2)) for _ in range(ROUNDS)), strict=True)
    one_cpu, one_wall = (median(values) for values in zip(*ones, strict=True))
    two_cpu, two_wall = (median(values) for values in zip(*twos, strict=True))
    ours = num_chars / one_cpu
    print(f"{num_chars:,} characters, {len(texts):,} passages")
    print(f"naive Kiwi + bm25s    {naive:10,.0f} characters per CPU-second (on 4 % of the passages)")
    print(f"ours                  {ours:10,.0f} characters per CPU-second: {ours / naive:.2f} ×")
    print(f"one process {one_wall:.1f} s, two {two_wall:.1f} s: {one_wall / two_wall:.2f} ×")
    print(f"CPU time: one {one_cpu:.1f} s, two {two_cpu:.1f} s")


def questions(texts: list[str], count: int, num_terms: int) -> list[tuple[str, list[str]]]:
    """(question, its terms): words of one passage that make exactly so many different morphemes."""
    dice, own, found = random.Random(17), analyzer("kiwi"), []
    while len(found) < count:
        words = dice.choice(texts).split()
        text = " ".join(dice.sample(words, min(num_terms, len(words))))
        terms = own.terms(text).morphemes
        if len(terms) == len(set(terms)) == num_terms:
            found.append((text, terms))
    return found


def timed(calls: dict[str, Callable[[int], object]], count: int) -> dict[str, float]:
    """Median milliseconds of each call over questions 0 … count, taken in turn, the best round of each."""
    seconds = {name: [float("inf")] * count for name in calls}
    for _ in range(ROUNDS):
        for number in range(count):
            for name, call in calls.items():
                start = time.perf_counter()
                call(number)
                seconds[name][number] = min(seconds[name][number], time.perf_counter() - start)
    return {name: 1000 * median(found) for name, found in seconds.items()}


def query(num_passages: int = 100_000) -> None:
    """Questions of six terms."""
    import tantivy

    texts = passage_texts(900 * num_passages)[:num_passages]
    asked = questions(texts, 300, 6)
    terms = [analyzer("kiwi").terms(text).morphemes for text in texts]
    peer = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numba")
    vocabulary: dict[str, int] = {}
    numbered = [[vocabulary.setdefault(term, len(vocabulary)) for term in found] for found in terms]
    peer.index((numbered, vocabulary), show_progress=False)
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("body", stored=False, tokenizer_name="whitespace")
    other = tantivy.Index(schema.build())
    writing = other.writer(num_threads=1)
    for found in terms:
        writing.add_document(tantivy.Document(body=[" ".join(found)]))
    writing.commit()
    writing.wait_merging_threads()
    other.reload()
    searcher = other.searcher()
    rows = ({"id": f"{number:06}", "text": text} for number, text in enumerate(texts))
    spans = ({**row, "spans": [[0, len(row["text"])]]} for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        ours = Index.build(spans, Path(folder) / "one", options=Options(analyzer="kiwi"), machine=MACHINE)
        lexical = ours.lexical
        looked_up = [lexical.weighted((found, [])) for _, found in asked]
        known = [[vocabulary[term] for term in found if term in vocabulary] for _, found in asked]
        clauses = [
            [(tantivy.Occur.Should, tantivy.Query.term_query(schema_of(other), "body", term)) for term in found]
            for _, found in asked
        ]
        ready = [tantivy.Query.boolean_query(one) for one in clauses]
        calls: dict[str, Callable[[int], object]] = {
            "ours, text in, hits out": lambda n: ours.search(asked[n][0], 10),
            "bm25s numba": lambda n: peer.retrieve([known[n]], k=10, show_progress=False, n_threads=1),
            "ours, words in, numbers out": lambda n: lexical.search(lexical.weighted((asked[n][1], [])), 10),
            "tantivy": lambda n: searcher.search(ready[n], 10),
            "ours, numbers in and out": lambda n: lexical.search(looked_up[n], 10),
            "bm25s, words in, texts out": lambda n: peer.retrieve(
                [asked[n][1]], corpus=texts, k=10, show_progress=False, n_threads=1
            ),
        }
        times = timed(calls, len(asked))
        same = [same_scores(ours, peer, text, ids) for (text, _), ids in zip(asked, known, strict=True)]
        for name, milliseconds in times.items():
            print(f"{name:32} {milliseconds:7.3f} ms   bm25s / this {times['bm25s numba'] / milliseconds:.2f} ×")
        print(f"same top 10 as bm25s (equal scores aside): {sum(same)} of {len(same)} questions")


def schema_of(index: object) -> object:
    """tantivy's schema of an index."""
    return index.schema  # type: ignore[attr-defined]


def same_scores(ours: Index, peer: bm25s.BM25, text: str, ids: list[int]) -> bool:
    """Whether both find ten passages of the same scores."""
    _, scores = peer.retrieve([ids], k=10, show_progress=False, n_threads=1)
    return np.allclose([hit.score for hit in ours.search(text, 10)], scores[0], rtol=1e-4)


def dense(count: int = 250_000) -> None:
    """Vectors like those of an encoder: many clusters, unequal axes."""
    dice, width = np.random.default_rng(17), 384
    axes = 1 / np.sqrt(1 + np.arange(width))
    centres = dice.normal(size=(5_000, width)) * axes
    found = centres[dice.integers(len(centres), size=count)] + 0.7 * dice.normal(size=(count, width)) * axes
    vectors_MD = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    asked = vectors_MD[dice.integers(count, size=200)] + 0.02 * dice.normal(size=(200, width)).astype(np.float32)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        setup = build(Path(folder), vectors_MD)
        seconds = time.perf_counter() - start
        opened = Vectors(Path(folder), setup)
        flat = faiss.IndexFlatIP(width)
        flat.add(vectors_MD)
        times = timed(
            {"flat": lambda n: flat.search(asked[n : n + 1], 10), "ours": lambda n: opened.search(asked[n], 10, None)},
            200,
        )
        true = flat.search(asked, 10)[1]
        ours = [opened.search(one, 10, None)[1] for one in asked]
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(true.tolist(), ours, strict=True)])
    print(f"{count:,} vectors: {setup}, built in {seconds:.0f} s")
    ratio = times["flat"] / times["ours"]
    print(f"flat {times['flat']:.2f} ms, ours {times['ours']:.2f} ms: {ratio:.1f} ×, recall@10 {recall:.4f}")


def growth(megabytes: int = 50) -> None:
    """1 % more documents against a full build, and a full rebuild's ranking."""
    rows = list(documents(megabytes * 1e6))
    random.Random(17).shuffle(rows)
    first = len(rows) * 100 // 101
    with tempfile.TemporaryDirectory() as folder:
        index = Index.build(rows[:20], Path(folder) / "warm", machine=MACHINE)
        cpu = cpu_seconds()
        index = Index.build(rows[:first], Path(folder) / "grown", machine=MACHINE)
        full = cpu_seconds() - cpu
        cpu = cpu_seconds()
        index.add(rows[first:], MACHINE)
        more = cpu_seconds() - cpu
        whole = Index.build(rows, Path(folder) / "whole", machine=MACHINE)
        asked = [text for text, _ in questions([row["text"] for row in rows], 200, 6)]
        same = sum(index.search(text) == whole.search(text) for text in asked)
    print(f"{first:,} documents {full:.1f} CPU-seconds; {len(rows) - first} more {more:.2f}: {more / full:.2%}")
    print(f"same hits and scores as a full rebuild: {same} of {len(asked)} questions")


if __name__ == "__main__":
    if DATA.is_dir():
        {"bulk": bulk, "query": query, "dense": dense, "growth": growth}[sys.argv[1]](*map(int, sys.argv[2:]))
    else:
        print(f"skipped: {DATA} is not there")
