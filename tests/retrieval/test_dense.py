"""The dense arm: cosines of prefixed texts, best small passage, recall of compressed vectors."""

from __future__ import annotations

import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from korean_llm.retrieval import Index
from korean_llm.retrieval.index import Options
from korean_llm.retrieval.vectors import Setup, Vectors, build
from tests.retrieval.conftest import DOCUMENTS

QUESTION = "도서관은 언제 쉬나요?"


def test_scores_are_cosines_of_prefixed_texts(encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    Index.build(DOCUMENTS, tmp_path / "index", encoder=encoder, options=Options(small_chars=400))
    moved = shutil.move(tmp_path / "index", tmp_path / "moved")
    index = Index.open(moved)
    model = SentenceTransformer(str(encoder), device="cpu")
    asked = model.encode([f"query: {QUESTION}"], normalize_embeddings=True)[0]
    for hit in index.search(QUESTION):
        vector = model.encode([f"passage: {hit.title}\n{hit.text}"], normalize_embeddings=True)[0]
        assert hit.dense == pytest.approx(float(vector @ asked), abs=1e-5)
        assert hit.focus == (hit.start, hit.end)


def test_a_passage_scores_as_its_best_small_one(encoder: Path, tmp_path: Path) -> None:
    index = Index.build(DOCUMENTS, tmp_path, encoder=encoder, options=Options(passage_chars=400, small_chars=20))
    assert index.dense is not None
    for hit in index.search(QUESTION):
        document = index.document(hit.document_id)
        assert document is not None and hit.focus is not None
        start, end = hit.focus
        assert hit.start <= start < end <= hit.end
        small = f"{document.title}\n{document.text[start:end]}"
        cosine = float(index.dense.encoder.passages([small])[0] @ index.dense.encoder.query(QUESTION))
        assert hit.dense == pytest.approx(cosine, abs=1e-5)
    assert len(index._segments[0].small_M3) > len(DOCUMENTS)


@pytest.fixture(scope="module")
def embedded() -> np.ndarray:
    """Clustered, as real embeddings are."""
    dice = np.random.default_rng(5)
    found = dice.normal(size=(60, 32))[dice.integers(60, size=6_000)] + 0.6 * dice.normal(size=(6_000, 32))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_few_vectors_are_searched_exactly(embedded: np.ndarray, tmp_path: Path) -> None:
    assert build(tmp_path, embedded) == Setup()
    scores, numbers = Vectors(tmp_path, Setup()).search(embedded[7], 5, None)
    expected = embedded @ embedded[7]
    assert numbers.tolist() == np.argsort(-expected)[:5].tolist()
    assert scores == pytest.approx(np.sort(expected)[::-1][:5], abs=1e-6)


def test_many_are_compressed_and_the_recall_that_is_kept_is_true(embedded: np.ndarray, tmp_path: Path) -> None:
    setup = build(tmp_path, embedded, exact_up_to=1_000)
    assert setup.kind == "codes" and setup.recall >= 0.99
    opened = Vectors(tmp_path, setup)
    dice = np.random.default_rng(6)
    asked = (embedded[dice.integers(6_000, size=50)] + 0.05 * dice.normal(size=(50, 32))).astype(np.float32)
    _, true = faiss.knn(asked, embedded, 10, faiss.METRIC_INNER_PRODUCT)
    found = [opened.search(one, 10, None)[1] for one in asked]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(true, found, strict=True)]) >= 0.95


@pytest.mark.parametrize("exact_up_to", [1_000, 100_000])
def test_the_dead_are_never_found(embedded: np.ndarray, tmp_path: Path, exact_up_to: int) -> None:
    opened = Vectors(tmp_path, build(tmp_path, embedded, exact_up_to))
    is_dead_M = np.zeros(len(embedded), np.uint8)
    _, before = opened.search(embedded[7], 10, None)
    is_dead_M[before[:5]] = 1
    _, after = opened.search(embedded[7], 5, is_dead_M)
    assert after.tolist() == before[5:].tolist()
