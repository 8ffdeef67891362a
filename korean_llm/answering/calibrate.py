"""Fit when to say that the documents do not answer, on questions that they do and do not answer.

Half of the questions, by the hash of their text, fits the model and its threshold; the other half only measures it. The
model is logistic regression with an L2 penalty, both classes counting the same, solved by Newton's method; the
threshold is taken from scores of questions that the model was not fitted on (five folds), in the middle of the gap
where they leave one.
Shapes: Q questions, F features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from korean_llm import console
from korean_llm.answering.abstain import Calibration, calibration_place, features, search_kind
from korean_llm.answering.asked import is_small_talk
from korean_llm.answering.evidence import Evidence, gather
from korean_llm.artifact import write_json
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Index

ANSWERED = 0.94
"""Share of the answerable questions of the fitting half that the threshold lets pass."""

MIN_QUESTIONS = 10
PENALTY = 0.02
_FOLDS = 5
_STEPS = 30


def calibrate(index: Index, answerable: Sequence[str], unanswerable: Sequence[str]) -> dict[str, Any]:
    """Fit, and write the result beside the index; returns it with the shares measured on both halves.

    Raises KoreanLLMError where a half holds fewer than ten questions of a kind.
    """
    questions = [(text, True) for text in answerable] + [(text, False) for text in unanswerable]
    asked = [(text, label) for text, label in dict(questions).items() if not is_small_talk(text)]
    for half in (True, False):
        for label in (True, False):
            count = sum(one == label and held_out(text) == half for text, one in asked)
            if count < MIN_QUESTIONS:
                kind = "with" if label else "without"
                raise KoreanLLMError(
                    f"one half of the questions holds {count} {kind} an answer; give at least {3 * MIN_QUESTIONS}."
                )
    evidence = {text: gather(index, text) for text, _ in console.progress(asked, "asking questions")}
    fitted = [(evidence[text], label) for text, label in asked if not held_out(text)]
    calibration = _fit(index, fitted)
    kind = search_kind(index)
    place = calibration_place(index)
    place.parent.mkdir(exist_ok=True)
    known = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    measured = [(evidence[text], label) for text, label in asked if held_out(text)]
    report = {"fitted": _shares(index, calibration, fitted), "held_out": _shares(index, calibration, measured)}
    write_json(place, {**known, kind: {**calibration.as_dict(), **report}})
    return {"index": str(index.folder), "kind": kind, "threshold": calibration.threshold, **report}


def held_out(question: str) -> bool:
    """Whether a question is of the half that only measures."""
    return hashlib.sha256(question.encode()).digest()[0] % 2 == 1


def _shares(index: Index, calibration: Calibration, asked: Sequence[tuple[Evidence, bool]]) -> dict[str, float]:
    """Share of answerable questions answered and of others refused, and how many there are of each."""
    passed = {True: [], False: []}  # type: dict[bool, list[bool]]
    for evidence, label in asked:
        passed[label].append(bool(evidence.terms) and _sure(index, calibration, evidence))
    return {
        "answerable": len(passed[True]),
        "answered": float(np.mean(passed[True])),
        "unanswerable": len(passed[False]),
        "refused": 1 - float(np.mean(passed[False])),
    }


def _sure(index: Index, calibration: Calibration, evidence: Evidence) -> bool:
    return calibration.probability(features(index, evidence)) >= calibration.threshold


def _fit(index: Index, asked: Sequence[tuple[Evidence, bool]]) -> Calibration:
    rows = [features(index, evidence) for evidence, _ in asked if evidence.sentences]
    names = sorted(rows[0])
    values_QF = np.array([[row[name] for name in names] for row in rows])
    labels_Q = np.array([label for evidence, label in asked if evidence.sentences], dtype=float)
    mean_F, scale_F = values_QF.mean(axis=0), values_QF.std(axis=0)
    scale_F = np.where(scale_F > 1e-6, scale_F, 1.0)
    scaled_QF = (values_QF - mean_F) / scale_F
    weights_F, bias = logistic(scaled_QF, labels_Q)
    threshold = _threshold(_foreign_scores(scaled_QF, labels_Q), labels_Q)
    model = {
        name: {"mean": round(float(mean), 6), "scale": round(float(scale), 6), "weight": round(float(weight), 6)}
        for name, mean, scale, weight in zip(names, mean_F, scale_F, weights_F, strict=True)
    }
    return Calibration(model, round(bias, 6), round(threshold, 6))


def _threshold(scores_Q: np.ndarray, labels_Q: np.ndarray) -> float:
    """What the wanted share of the answerable questions passes, lowered halfway to the next question without answer."""
    passed = float(np.quantile(scores_Q[labels_Q == 1], 1 - ANSWERED))
    others = scores_Q[(labels_Q == 0) & (scores_Q < passed)]
    return (passed + float(others.max(initial=0.0))) / 2


def _foreign_scores(scaled_QF: np.ndarray, labels_Q: np.ndarray) -> np.ndarray:
    """The probability of each question by a model that was fitted without it, shape (Q,)."""
    scores_Q = np.zeros(len(labels_Q))
    folds_Q = np.arange(len(labels_Q)) % _FOLDS
    for fold in range(_FOLDS):
        weights_F, bias = logistic(scaled_QF[folds_Q != fold], labels_Q[folds_Q != fold])
        scores_Q[folds_Q == fold] = 1 / (1 + np.exp(-(scaled_QF[folds_Q == fold] @ weights_F + bias)))
    return scores_Q


def logistic(values_QF: np.ndarray, labels_Q: np.ndarray, penalty: float = PENALTY) -> tuple[np.ndarray, float]:
    """Weights (F,) and bias that maximise the mean log-likelihood, classes balanced, less penalty / 2 · |weights|²."""
    design = np.column_stack([values_QF, np.ones(len(labels_Q))])
    share = labels_Q.mean()
    weight_Q = np.where(labels_Q == 1, 0.5 / share, 0.5 / (1 - share)) / len(labels_Q)
    ridge = np.diag([penalty] * values_QF.shape[1] + [1e-9])
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        probability_Q = 1 / (1 + np.exp(-(design @ found)))
        gradient = design.T @ (weight_Q * (probability_Q - labels_Q)) + ridge @ found
        curvature = (design * (weight_Q * probability_Q * (1 - probability_Q))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    return found[:-1], float(found[-1])
