"""How sure it is that an index answers a question: a few cheap features and a small logistic model over them.

P(answered) = σ(bias + Σ weight · (feature − mean) / scale). The constants are fitted on a question set by
korean_llm.answering.calibrate; an index keeps its own, others take those that are shipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from korean_llm.answering.asked import asked_kind, is_small_talk
from korean_llm.answering.evidence import NUM_READ, Evidence
from korean_llm.artifact import MANIFEST
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Index
from korean_llm.retrieval.analyzer import bigram_terms, morpheme_terms

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

    Raises KoreanLLMError where its own is damaged.
    """
    kind = search_kind(index)
    for path in (calibration_place(index), _SHIPPED):
        try:
            value = json.loads(path.read_text(encoding="utf-8")).get(kind)
            if value is not None:
                return Calibration(value["model"], value["bias"], value["threshold"])
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KoreanLLMError(
                f"the calibration {path} is damaged; delete it, or write it anew with `korean-llm calibrate`."
            ) from None
    raise KoreanLLMError(f"{_SHIPPED} is missing; install korean-llm again.")


def search_kind(index: Index) -> str:
    """hybrid or lexical: with an encoder there is more to go by."""
    return "lexical" if index.dense is None else "hybrid"


def features(index: Index, evidence: Evidence) -> dict[str, float]:
    """What says whether a question is answered, each about in [−1, 1]; with an encoder four more.

    Terms are weighted by their rarity in the index. kind_missing: no sentence holds a thing of the kind asked for,
    such as a number with the unit asked for; fitting sentences do. Leads compare with the mean of the hits from the
    fourth on. Cosines are stretched so that unrelated texts have 0: encoders differ in that more than in anything.
    """
    found = _by_words(index, evidence)
    kind = asked_kind(evidence.question)
    fitting = [sentence for sentence in evidence.sentences if kind is None or kind(sentence.text)]
    found["kind_missing"] = float(not fitting)
    found["lead"] = _lead([hit.score for hit in evidence.hits], relative=index.dense is None)
    if index.dense is not None:
        zero = _zero(index.dense.encoder)
        dense = [(cosine - zero) / (1 - zero) for cosine in sorted(hit.dense or 0.0 for hit in evidence.hits)[::-1]]
        found["passage_cosine"] = dense[0]
        found["cosine_lead"] = _lead(dense, relative=False)
        for name, among in (("sentence_cosine", evidence.sentences), ("fitting_cosine", fitting)):
            taken = [sentence.cosine for sentence in among if sentence.cosine is not None]
            found[name] = (max(taken) - zero) / (1 - zero) if taken else 0.0
    return found


def _by_words(index: Index, evidence: Evidence) -> dict[str, float]:
    asked = rarity(index, set(evidence.terms))
    hits = evidence.hits[:NUM_READ]
    passages = [set(terms) for terms in morpheme_terms(f"{hit.title}\n{hit.text}" for hit in hits)]
    single = [set(terms) for terms in morpheme_terms(sentence.text for sentence in evidence.sentences)]
    best = max(evidence.sentences, key=lambda sentence: sentence.score)
    document = index.document(best.hit.document_id)
    whole = f"{best.hit.title}\n{document.text if document else best.hit.text}".lower()
    nouns = {term: weight for term, weight in asked.items() if term not in _QUESTION_WORDS}
    missing = [weight for term, weight in nouns.items() if term not in f"{best.hit.title}\n{best.hit.text}".lower()]
    pairs = dict.fromkeys(bigram_terms(evidence.question), 1.0)
    return {
        "covered": max(_share(asked, terms) for terms in passages),
        "sentence_covered": max(_share(asked, terms) for terms in single),
        "document_covered": _share(nouns, {term for term in nouns if term in whole}),
        "missing": max(missing, default=0.0) / math.log(2 + 2 * index.state.num_passages),
        "bigrams": max(_share(pairs, set(bigram_terms(sentence.text))) for sentence in evidence.sentences),
        "lexical": max(hit.lexical for hit in evidence.hits) / (sum(asked.values()) or 1.0),
    }


def rarity(index: Index, terms: set[str]) -> dict[str, float]:
    """BM25's inverse document frequency of each term in the index; 1 where its analyzer counts no morphemes."""
    weights = {term: index.lexical.weighted(([term], [])).weights_Q for term in terms}
    return {term: float(weight[0]) if len(weight) else 1.0 for term, weight in weights.items()}


def _share(weights: Mapping[str, float], held: set[str]) -> float:
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in held) / total if total else 0.0


def _lead(scores: list[float], *, relative: bool) -> float:
    """By how much the first is ahead of the fourth and later ones; relative: as a share of itself."""
    rest = float(np.mean(scores[3:])) if len(scores) > 3 else 0.0
    return (scores[0] - rest) / (abs(scores[0]) + 1e-9) if relative else scores[0] - rest


@lru_cache(maxsize=8)
def _zero(encoder: Encoder) -> float:
    """The mean cosine of texts that have nothing to do with each other."""
    texts_MD = encoder.passages([text for _, text in _UNRELATED])
    cosines = [
        float(encoder.query(question) @ text_D) for (question, _), text_D in zip(_UNRELATED, texts_MD, strict=True)
    ]
    return min(float(np.mean(cosines)), 0.95)
