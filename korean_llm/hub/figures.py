"""What was measured of an artifact, each figure with the manifest it stands in; and what was not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from korean_llm.hub.lineage import Lineage

_ROLES = {"vocabulary": "extended", "pretraining": "adapted", "export": "tuned"}
_TUNING = ("online", "preference", "instruction")
_LANGUAGES = {"ko": ("한국어", "Korean"), "en": ("영어", "English")}
_WORSE = 0.005


@dataclass(frozen=True)
class Figure:
    """One row of the card: its name in both languages, before (if any), after, and stage and fingerprint it is from."""

    korean: str
    english: str
    before: str
    after: str
    source: str


Limit = tuple[str, str]
"""One sentence in Korean and in English."""


def figures(lineage: Lineage) -> list[Figure]:
    """Every figure of the artifact and of its tuning; empty where nothing was measured."""
    return [*_evaluated(lineage), *_tuned(lineage), *_exported(lineage)]


def _evaluated(lineage: Lineage) -> list[Figure]:
    if lineage.evaluation is None:
        return []
    source = f"evaluation {lineage.evaluation.fingerprint[:12]}"
    role = _role(lineage)
    metrics = lineage.evaluation.metrics
    bits, fertility = metrics["bits_per_byte"], metrics["tokens_per_eojeol"]
    if role is None:
        return []
    rows = [
        Figure(
            f"{_LANGUAGES[language][0]} 바이트당 비트 (낮을수록 좋음)",
            f"bits per byte, {_LANGUAGES[language][1]} (lower is better)",
            f"{bits['base'][language]:.4f}",
            f"{value:.4f}",
            source,
        )
        for language, value in bits[role].items()
    ]
    if fertility.get("base") and fertility.get(role):
        before, after = (f"{fertility[name]:.2f}" for name in ("base", role))
        rows.append(Figure("한국어 어절당 토큰", "tokens per eojeol", before, after, source))
    return rows


def _role(lineage: Lineage) -> str | None:
    """What the evaluation calls this artifact; None where it was not measured: of adapters the last one is."""
    if lineage.evaluation is None:
        return None
    last = next((stage for stage in _TUNING if stage in lineage.evaluation.inputs), None)
    role = "tuned" if lineage.stage == last else _ROLES.get(lineage.stage)
    return role if role in lineage.evaluation.metrics["bits_per_byte"] else None


def _tuned(lineage: Lineage) -> list[Figure]:
    rows = []
    for stage, korean in (("instruction", "지시 학습"), ("preference", "선호 학습"), ("online", "온라인 학습")):
        manifest = lineage.manifests.get(stage)
        if manifest is None:
            continue
        source = f"{stage} {manifest.fingerprint[:12]}"
        for name, (before, after) in _pairs(manifest.metrics).items():
            rows.append(Figure(f"{korean} 평가 몫: {name}", f"{stage}, held-out: {name}", before, after, source))
    return rows


def _pairs(metrics: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Name → before and after, of the tuning stages' held-out figures."""
    if "holdout_loss_before" in metrics:
        return {"loss": (f"{metrics['holdout_loss_before']:.4f}", f"{metrics['holdout_loss_after']:.4f}")}
    before, after = metrics.get("holdout_before", {}), metrics.get("holdout_after", {})
    return {name: (f"{before[name]:.4f}", f"{after[name]:.4f}") for name in before if name in after}


def _exported(lineage: Lineage) -> list[Figure]:
    manifest = lineage.manifests.get("export")
    if manifest is None:
        return []
    source = f"export {manifest.fingerprint[:12]}"
    rows = []
    merge = manifest.metrics.get("merge", {})
    if merge.get("adapter"):
        kl = f"{merge['adapted_from_merged']:.2g}"
        name = "KL(어댑터 ‖ 합친 모델), 토큰당 nat", "KL(adapter ‖ merged), nats per token"
        rows.append(Figure(*name, "", kl, source))
    bits = manifest.metrics.get("bits_per_byte", {})
    for file, found in bits.items():
        if file == "model":
            continue
        for language, value in found.items():
            korean, english = _LANGUAGES[language]
            name = f"{file}: {korean} 바이트당 비트", f"{file}: bits per byte, {english}"
            rows.append(Figure(*name, f"{bits['model'][language]:.4f}", f"{value:.4f}", source))
    return rows


def limits(lineage: Lineage) -> list[Limit]:
    """What is worse than before, what was measured on little, and what was not measured at all."""
    return [*_worse(lineage), *_held_out(lineage), *_length(lineage), *_never(lineage)]


def _worse(lineage: Lineage) -> list[Limit]:
    role = _role(lineage)
    if lineage.evaluation is None or role is None:
        return []
    changes = lineage.evaluation.metrics["change_from_base"][role]
    return [
        (
            f"{_LANGUAGES[language][0]} 바이트당 비트가 원본 모델보다 {change:.1%} 높습니다(나빠졌습니다).",
            f"{_LANGUAGES[language][1]} bits per byte are {change:.1%} above the base model's (worse).",
        )
        for language, change in changes.items()
        if change > _WORSE
    ]


def _held_out(lineage: Lineage) -> list[Limit]:
    if lineage.evaluation is None or _role(lineage) is None:
        return [
            (
                "이 산출물의 바이트당 비트와 어절당 토큰은 재지 않았습니다.",
                "Bits per byte and tokens per eojeol of this artifact: not measured.",
            )
        ]
    holdout = lineage.evaluation.counts["holdout"]
    size = ", ".join(f"{language} {part['bytes']:,}" for language, part in holdout.items())
    return [
        (
            f"바이트당 비트는 학습 말뭉치에서 따로 떼어 둔 글로만 쟀습니다({size} 바이트). 다른 갈래의 글은"
            " 재지 않았습니다.",
            f"Bits per byte were measured on held-out text of the training corpora alone ({size} bytes); text of other"
            " kinds: not measured.",
        )
    ]


def _length(lineage: Lineage) -> list[Limit]:
    recipe = lineage.recipe
    seen = [recipe.pretraining.block_tokens] if recipe.pretraining and "pretraining" in lineage.manifests else []
    seen += [recipe.instruction.max_tokens] if recipe.instruction and "instruction" in lineage.manifests else []
    if not seen:
        return []
    return [
        (
            f"{max(seen):,} 토큰보다 긴 글은 학습하지도, 시험하지도 않았습니다.",
            f"Texts longer than {max(seen):,} tokens were neither trained on nor tested.",
        )
    ]


def _never(lineage: Lineage) -> list[Limit]:
    masked = lineage.recipe.corpus is not None and lineage.recipe.corpus.personal_data == "mask"
    personal = (
        (
            "말뭉치 단계의 글에서는 개인정보를 규칙으로 찾아 가렸습니다(놓친 것이 있을 수 있습니다). 지시와 선호"
            " 데이터는 가리지 않았습니다.",
            "Personal data in the documents was masked by rules (some may have been missed); instruction and preference"
            " data was not masked.",
        )
        if masked and "corpus" in lineage.manifests
        else ("학습 데이터의 개인정보를 가리지 않았습니다.", "Personal data in the training data was not masked.")
    )
    return [
        (
            "KoBEST, HAE-RAE, KMMLU 같은 표준 시험: 재지 않았습니다.",
            "KoBEST, HAE-RAE, KMMLU and the like: not measured.",
        ),
        (
            "사실에 맞는지, 해로운 답을 하는지, 치우침이 있는지: 재지 않았습니다.",
            "Truthfulness, harmful answers, bias: not measured.",
        ),
        personal,
    ]
