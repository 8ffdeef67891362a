"""Lexical scores are BM25's formula, whatever was pruned on the way."""

from __future__ import annotations

import random

import numpy as np
import pytest

from korean_llm.retrieval import Index
from korean_llm.retrieval.analyzer import bigram_terms, morpheme_terms
from korean_llm.retrieval.fuse import FLOOR, Arm, fuse, min_max, reciprocal_ranks, z_scores
from korean_llm.retrieval.lexical import BIGRAM_WEIGHT, K1, B
from tests.reference.bm25 import bm25
from tests.retrieval.conftest import WORDS


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Word salad with a few very common words, so that there is something to prune."""
    dice = random.Random(3)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [" ".join(dice.choices(WORDS, weights, k=dice.randint(1, 30))) for _ in range(400)]


@pytest.fixture(scope="module")
def index(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Index:
    rows = [{"id": f"{number:03}", "text": text} for number, text in enumerate(texts)]
    return Index.build(rows, tmp_path_factory.mktemp("lexical"))


def formula(question: str, texts: list[str]) -> np.ndarray:
    indexed = [f"\n{text}" for text in texts]
    morphemes = bm25(next(morpheme_terms([question])), list(morpheme_terms(indexed)), K1, B)
    return np.array(morphemes) + BIGRAM_WEIGHT * np.array(
        bm25(bigram_terms(question), list(map(bigram_terms, indexed)), K1, B)
    )


@pytest.mark.parametrize("question", ["도서관", "버드나무 강가의 물소리", "GPU 은행 은행 지방자치단체장", "없는낱말쀍"])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_the_best_k_and_their_scores_are_the_formula(index: Index, texts: list[str], question: str, k: int) -> None:
    expected = formula(question, texts)
    hits = [hit for hit in index.search(question, k) if hit.score > 0]
    best = np.sort(expected[expected > 0])[::-1][:k]
    assert [hit.score for hit in hits] == pytest.approx(best, rel=1e-5)
    assert [hit.score for hit in hits] == pytest.approx([expected[int(hit.document_id)] for hit in hits], rel=1e-5)
    assert [hit.lexical for hit in hits] == [hit.score for hit in hits], "looked up one by one, bit by bit the same"


def test_equal_scores_stand_in_the_order_of_ids(index: Index) -> None:
    hits = index.search("도서관", 400)
    assert hits == sorted(hits, key=lambda hit: hit.rank)
    matching = [(-hit.score, hit.document_id) for hit in hits if hit.score > 0]
    assert matching == sorted(matching)


def arm(*scores: float, num_unseen: int = 0) -> Arm:
    return Arm(np.arange(len(scores)), np.array(scores), num_unseen)


def test_fusion_by_hand() -> None:
    lexical, dense = arm(4.0, 2.0, num_unseen=1), Arm(np.array([1, 2, 0]), np.array([0.9, 0.8, 0.7]))
    z = [1.2247449, 0.0, -1.2247449]
    assert z_scores(lexical)[0] == pytest.approx(z[:2]) and z_scores(lexical)[1] == pytest.approx(z[2])
    fused = fuse(lexical, dense, 0.35)
    expected = {0: 0.65 * z[0] + 0.35 * z[2], 1: 0.35 * z[0], 2: 0.65 * z[2]}
    assert dict(zip(fused.numbers.tolist(), fused.scores, strict=True)) == pytest.approx(expected)
    assert fuse(lexical, None, 0.35) is lexical


def test_passages_outside_the_top_get_the_floor() -> None:
    found, rest = z_scores(arm(*np.arange(100, 0, -1.0)))
    assert rest == FLOOR and (found > FLOOR).all()
    assert (z_scores(arm(*np.ones(5)))[0] == 0).all()
    assert z_scores(arm())[1] == FLOOR


def test_other_scales_by_hand() -> None:
    ranks, rest = reciprocal_ranks(arm(9.0, 5.0, 5.0, 1.0))
    assert ranks.tolist() == pytest.approx([1 / 61, 1 / 62, 1 / 62, 1 / 64]) and rest == 0
    assert min_max(arm(4.0, 2.0, 1.0))[0].tolist() == pytest.approx([1.0, 1 / 3, 0.0])
    assert min_max(arm(4.0, 2.0, num_unseen=1))[0].tolist() == pytest.approx([1.0, 0.5])
