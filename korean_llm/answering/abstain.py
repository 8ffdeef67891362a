"""How sure it is that an index answers a question: a few cheap features and a small logistic model over them.

P(answered) = σ(bias + Σ weight · (feature − mean) / scale). The constants are fitted on a question set by
korean_llm.answering.calibrate; an index keeps its own, others take those that are shipped.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from korean_llm.answering.asked import asked_kind, is_small_talk
from korean_llm.answering.evidence import Evidence, Sentence
from korean_llm.artifact import MANIFEST
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Index

if TYPE_CHECKING:
    from korean_llm.retrieval.encoder import Encoder

CALIBRATION = "answering.json"
_SHIPPED = Path(__file__).with_name("calibration.json")
_UNRELATED = (
    ("도서관은 몇 시에 닫나요?", "배추를 소금물에 절인 다음 맑은 물에 헹군다."),
    ("세금은 언제까지 내야 하나요?", "강가의 버드나무가 바람에 흔들렸다."),
    ("두통약을 먹어도 되나요?", "버스 노선이 다음 달부터 바뀝니다."),
    ("컴퓨터가 켜지지 않아요.", "할머니는 장독대에 눈이 쌓였다고 하셨다."),
)
"""Questions and texts that have nothing to do with each other: their cosine is an encoder's zero."""

_QUESTION_WORDS = frozenset(
    {"얼마", "무엇", "어디", "누구", "언제", "이름", "이유", "까닭", "때", "경우", "방법", "정도"}
)


_BY_WORDS = frozenset({"lexical", "document_covered", "kind_short", "kind_missing", "passage_share"})
_FEATURES = {"lexical": _BY_WORDS, "hybrid": _BY_WORDS | {"passage_cosine", "nearness"}}
_ANEW = "delete it, or write it anew with `korean-llm calibrate`."


@dataclass(frozen=True)
class Calibration:
    """A fitted model. model: feature → mean, scale and weight; a question counts as answered from `threshold` on."""

    model: dict[str, dict[str, float]]
    bias: float
    threshold: float

    def probability(self, features: Mapping[str, float]) -> float:
        """How sure it is, in [0, 1]."""
        total = self.bias
        for name, part in self.model.items():
            total += part["weight"] * (features[name] - part["mean"]) / part["scale"]
        return 1 / (1 + math.exp(-max(min(total, 50.0), -50.0)))

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def is_answered(index: Index, evidence: Evidence) -> bool:
    """Whether the index holds an answer; small talk and questions without content words have none."""
    if not evidence.terms or not evidence.sentences or is_small_talk(evidence.question):
        return False
    calibration = calibration_of(index)
    return calibration.probability(features(index, evidence)) >= calibration.threshold


def calibration_place(index: Index) -> Path:
    """Where an index keeps its own calibration: in its folder; that of a run among the run's records."""
    if (index.folder / MANIFEST).exists():
        return index.folder.parent / "records" / CALIBRATION
    return index.folder / CALIBRATION


def calibration_of(index: Index) -> Calibration:
    """The index's own calibration where it has one for how it searches, else the shipped one.

    Raises KoreanLLMError where its own is damaged, or of a version that went by other features.
    """
    kind = search_kind(index)
    for path in (calibration_place(index), _SHIPPED):
        try:
            value = json.loads(path.read_text(encoding="utf-8")).get(kind)
            found = Calibration(value["model"], value["bias"], value["threshold"]) if value is not None else None
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KoreanLLMError(f"the calibration {path} is damaged; {_ANEW}") from None
        if found is not None and found.model.keys() != _FEATURES[kind]:
            raise KoreanLLMError(f"the calibration {path} is of another version of korean-llm; {_ANEW}")
        if found is not None:
            return found
    raise KoreanLLMError(f"{_SHIPPED} is missing; install korean-llm again.")


def search_kind(index: Index) -> str:
    """hybrid or lexical: with an encoder there is more to go by."""
    return "lexical" if index.dense is None else "hybrid"


def features(index: Index, evidence: Evidence) -> dict[str, float]:
    """What says whether a question is answered, each about in [−1, 1]; with an encoder two more.

    lexical: the best hit's words, of all that are asked for; document_covered: the same of the likeliest sentence's
    document. kind_short: how much of the kind of thing asked for, such as a number with the unit asked for, the
    likeliest sentence lacks; kind_missing: whether all do. passage_share: how likely the likeliest passage is beside
    the others. nearness: of the likeliest sentence; cosines are stretched so that unrelated texts have 0, for encoders
    differ in that more than in anything.

    Two things tell much on the shipped questions and are left out. How long a question is: there, questions with an
    answer happen to be longer. How far the best hit is ahead of the others: with few documents there are no others,
    and more than half of the answers would be withheld.
    """
    sentences = evidence.sentences
    best = max(sentences, key=lambda sentence: sentence.score)
    kind = asked_kind(evidence.question)
    asked = rarity(index, set(evidence.terms))
    found = {
        "lexical": max(hit.lexical for hit in evidence.hits) / (sum(asked.values()) or 1.0),
        "document_covered": _document_covered(index, best, asked),
        "kind_short": 0.0 if kind is None else 1 - kind(best.text),
        "kind_missing": float(kind is not None and not any(kind(sentence.text) for sentence in sentences)),
        "passage_share": _passage_share(sentences),
    }
    if index.dense is not None and best.nearness is not None:
        zero = _zero(index.dense.encoder)
        found["passage_cosine"] = (max(hit.dense or 0.0 for hit in evidence.hits) - zero) / (1 - zero)
        found["nearness"] = (best.nearness - zero) / (1 - zero)
    return found


def _document_covered(index: Index, sentence: Sentence, asked: Mapping[str, float]) -> float:
    """The share of the terms asked for, by rarity, that stand in a sentence's document or its title."""
    document = index.document(sentence.hit.document_id)
    whole = f"{sentence.hit.title}\n{document.text if document else sentence.hit.text}".lower()
    named = {term: weight for term, weight in asked.items() if term not in _QUESTION_WORDS}
    total = sum(named.values())
    return sum(weight for term, weight in named.items() if term in whole) / total if total else 0.0


def _passage_share(sentences: Sequence[Sentence]) -> float:
    """The probability of the likeliest passage, by the softmax over all sentences."""
    highest = max(sentence.score for sentence in sentences)
    shares: dict[int, float] = defaultdict(float)
    for sentence in sentences:
        shares[sentence.hit.rank] += math.exp(sentence.score - highest)
    return max(shares.values()) / sum(shares.values())


def rarity(index: Index, terms: set[str]) -> dict[str, float]:
    """BM25's inverse document frequency of each term in the index; 1 where its analyzer counts no morphemes."""
    weights = {term: index.lexical.weighted(([term], [])).weights_Q for term in terms}
    return {term: float(weight[0]) if len(weight) else 1.0 for term, weight in weights.items()}


@lru_cache(maxsize=8)
def _zero(encoder: Encoder) -> float:
    """The mean cosine of texts that have nothing to do with each other."""
    texts_MD = encoder.passages([text for _, text in _UNRELATED])
    cosines = [
        float(encoder.query(question) @ text_D) for (question, _), text_D in zip(_UNRELATED, texts_MD, strict=True)
    ]
    return min(float(np.mean(cosines)), 0.95)
