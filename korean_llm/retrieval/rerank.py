"""Score the best passages again with a cross-encoder, which reads question and passage together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.fuse import Arm, z_scores

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

RERANKED = 50
"""Passages that are scored again; recall at this depth is above .99 on the Korean sets that were measured."""


@lru_cache(maxsize=2)
def _cross_encoder(folder: str) -> CrossEncoder:
    from sentence_transformers import CrossEncoder

    if not (Path(folder) / "config.json").is_file():
        raise KoreanLLMError(f"the reranker folder {folder} holds no config.json; give a saved cross-encoder, or none.")
    return CrossEncoder(folder, local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True})


def rerank(folder: str, question: str, texts: Sequence[str], best: Arm, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """(numbers, scores) of the passages whose texts are given, the first of `best`, best first.

    Scores are (1 − weight) · z(fused) + weight · z(cross-encoder): rerankers that read Korean badly do less harm so.
    """
    count = len(texts)
    if not count:
        return best.numbers, best.scores
    read = _cross_encoder(folder).predict([(question, text) for text in texts], show_progress_bar=False)
    fused = z_scores(Arm(best.numbers[:count], best.scores[:count]))[0]
    crossed = z_scores(Arm(best.numbers[:count], np.asarray(read, dtype=float).reshape(-1)))[0]
    scores = (1 - weight) * fused + weight * crossed
    order = np.argsort(-scores, kind="stable")
    return best.numbers[:count][order], scores[order]
