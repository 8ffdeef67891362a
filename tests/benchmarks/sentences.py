"""The weights of sentences in answers: fitted anew, and how often the likeliest sentence is the right one.

    python tests/benchmarks/sentences.py RUN_OR_INDEX

Questions are the answerable ones of corpora/answers-ko and corpora/questions-ko. Half of them, by the hash of their
text, fits the weights of korean_llm/answering/scoring.py, with an L2 penalty; the other half only measures. Prints the
weights, and for both halves the share of questions whose likeliest sentence overlaps the evidence or stands in a
passage that does, with the fitted weights and with those that are shipped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from korean_llm.answering.calibrate import held_out
from korean_llm.answering.evidence import NUM_HITS, candidates
from korean_llm.answering.library import open_index
from korean_llm.answering.scoring import HYBRID, LEXICAL, features
from korean_llm.corpus.card import load_card
from korean_llm.corpus.read import read_rows
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from korean_llm.retrieval.store import INDEX

SETS = ("answers-ko", "questions-ko")
PENALTY = 0.01


class Asked(NamedTuple):
    """A question: features (S, F) of its sentences, which are right, and which stand in a right passage."""

    values_SF: np.ndarray
    right_S: np.ndarray
    passage_S: np.ndarray
    measures: bool


def read(index: Index) -> list[Asked]:
    """The answerable questions."""
    names = list(HYBRID if index.dense else LEXICAL)
    found = []
    for row in (row for name in SETS for row in read_rows(load_card(name)) if row["evidence"]):
        document = index.document(row["document_id"])
        assert document is not None
        first = document.text.index(row["evidence"])
        last = first + len(row["evidence"])
        read = candidates(index, row["question"], index.search(row["question"], k=NUM_HITS))
        values = features(row["question"], read)
        here = [one.hit.document_id == document.id for one in read]
        right = [own and one.start < last and first < one.end for own, one in zip(here, read, strict=True)]
        passage = [own and one.hit.start < last and first < one.hit.end for own, one in zip(here, read, strict=True)]
        stacked = np.stack([values[name] for name in names], axis=1)
        found.append(Asked(stacked, np.array(right), np.array(passage), held_out(row["question"])))
    return found


def fit(asked: list[Asked]) -> np.ndarray:
    """(F,) weights that maximise the mean log-likelihood of the right sentences, less the penalty."""
    known = [one for one in asked if one.right_S.any()]

    def loss(weights_F: np.ndarray) -> float:
        scores = [(one.values_SF @ weights_F, one.right_S) for one in known]
        gained = np.mean([logsumexp(score_S[right_S]) - logsumexp(score_S) for score_S, right_S in scores])
        return float(PENALTY * (weights_F**2).sum() - gained)

    return np.asarray(minimize(loss, np.zeros(known[0].values_SF.shape[1]), method="L-BFGS-B").x)


def shares(asked: list[Asked], weights_F: np.ndarray) -> str:
    """How often the likeliest sentence is right, and how often its passage."""
    best = [int(np.argmax(one.values_SF @ weights_F)) for one in asked]
    sentence = np.mean([one.right_S[at] for one, at in zip(asked, best, strict=True)])
    passage = np.mean([one.passage_S[at] for one, at in zip(asked, best, strict=True)])
    return f"sentence {sentence:.3f}, passage {passage:.3f}"


def main() -> None:
    """Print weights and shares."""
    folder = Path(sys.argv[1])
    machine = Machine("cpu", 1)
    index = Index.open(folder, machine) if (folder / INDEX).is_file() else open_index(folder, machine)
    shipped = HYBRID if index.dense else LEXICAL
    asked = read(index)
    halves = {
        name: [one for one in asked if one.measures == kind] for name, kind in (("fitted", False), ("held-out", True))
    }
    fitted = fit(halves["fitted"])
    for name, weight in zip(shipped, fitted, strict=True):
        print(f"{name:14} {weight:6.2f}   shipped {shipped[name]:6.2f}")
    for name, half in halves.items():
        print(f"{name} half, {len(half)} questions: fitted weights {shares(half, fitted)};", end=" ")
        print(f"shipped ones {shares(half, np.array(list(shipped.values())))}")


if __name__ == "__main__":
    main()
