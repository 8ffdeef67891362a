"""Put the figures together as one JSON value, and turn that value into the page. The page holds nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from korean_llm.evaluation.measurements import MAX_NEW_TOKENS, Measured, Score
from korean_llm.evaluation.plots import SMOOTHED_FROM, bits_plot, curve_plot, fertility_plot, loss_plot, models_plot
from korean_llm.evaluation.summary import (
    ARM_NAMES,
    LANGUAGE_NAMES,
    MODEL_NAMES,
    file_size,
    headline,
    model_rows,
    percent,
)
from korean_llm.evaluation.summary import Report as Report

TEMPLATE = "report.html.jinja"

_KIND_NAMES = {
    "partial UTF-8": "글자 조각",
    "syllable": "한 글자",
    "word start": "낱말 첫머리",
    "word piece": "낱말 가운데·끝",
}
_PART_NAMES = {
    "new_input_rows": "새 입력 행",
    "new_output_rows": "새 출력 행",
    "old_input_rows": "원래 입력 행",
    "old_output_rows": "원래 출력 행",
    "lora": "LoRA",
    "body": "층",
}
_STAGE_NAMES = {
    "base": "원본 모델",
    "corpus": "말뭉치",
    "vocabulary": "어휘 확장",
    "pretraining": "추가 사전학습",
    "instruction": "지시 학습",
    "reward": "보상 모델",
    "rejection_sampling": "가려 뽑은 답",
    "preference": "선호 학습",
    "online": "온라인 학습",
    "export": "내보내기",
    "retrieval": "검색 색인",
}


def model_entries(measured: list[Measured], fingerprints: dict[str, str]) -> list[dict[str, Any]]:
    """The figures of every model, and the artifact that it is; the first is the base that the others are held against.

    bits_per_byte is rounded to 4 places and change_from_base computed from the rounded figures, so that the
    report's own numbers add up. texts_better_than_base counts hold-out texts with fewer bits than under the base.
    """
    base = measured[0]
    return [_model_entry(item, base, fingerprints[item.subject.stage]) for item in measured]


def _model_entry(item: Measured, base: Measured, fingerprint: str) -> dict[str, Any]:
    bits = {language: round(score.total.per_byte, 4) for language, score in item.scores.items()}
    before = {language: round(score.total.per_byte, 4) for language, score in base.scores.items()}
    seconds = sum(score.seconds for score in item.scores.values())
    korean = item.scores.get("ko")
    return {
        "role": item.subject.role,
        "source": {"stage": item.subject.stage, "fingerprint": fingerprint},
        "bits_per_byte": bits,
        "change_from_base": {name: round(bits[name] / before[name] - 1, 4) if before[name] else 0.0 for name in bits},
        "texts_better_than_base": {
            name: _texts_better(score, base.scores[name]) for name, score in item.scores.items()
        },
        "bytes_per_token": {name: round(score.fertility.bytes_per_token, 4) for name, score in item.scores.items()},
        "tokens_per_eojeol": round(korean.fertility.tokens_per_eojeol, 4) if korean else None,
        "scored_tokens_per_s": round(sum(score.total.tokens for score in item.scores.values()) / max(seconds, 1e-9), 1),
        "scored_bytes_per_s": round(sum(score.total.bytes for score in item.scores.values()) / max(seconds, 1e-9), 1),
    }


def _texts_better(score: Score, base: Score) -> int:
    return sum(text.bits < other.bits for text, other in zip(score.texts, base.texts, strict=True))


def generation_entries(measured: list[Measured]) -> list[dict[str, Any]]:
    """Per prompt, what every model said: {"prompt", "answers": [{"role", "text", "finished"}]}."""
    asked = [item for item in measured if item.generations]
    return [
        {
            "prompt": generation.prompt,
            "answers": [
                {
                    "role": item.subject.role,
                    "text": item.generations[number].text,
                    "finished": item.generations[number].finished,
                }
                for item in asked
            ],
        }
        for number, generation in enumerate(asked[0].generations if asked else [])
    ]


def render(report: Report) -> str:
    """The page as one self-contained HTML document. Every figure in it is in the report; text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "file_size": file_size, "duration": _duration, "minute": _minute}
    page: str = environment.get_template(TEMPLATE).render(
        report=report,
        rows=model_rows(report),
        tiles=headline(report),
        plots={name: Markup(svg) for name, svg in _plots(report).items()},
        model_names=MODEL_NAMES,
        language_names=LANGUAGE_NAMES,
        arm_names=ARM_NAMES,
        kind_names=_KIND_NAMES,
        part_names=_PART_NAMES,
        stage_names=_STAGE_NAMES,
        max_new_tokens=MAX_NEW_TOKENS,
        smoothed_from=SMOOTHED_FROM,
    )
    return page


def _plots(report: Report) -> dict[str, str]:
    """The plots that the report has figures for, by name."""
    found = {}
    if any(model["bits_per_byte"] for model in report["models"]):
        label = "모델별 바이트당 비트 막대그래프"
        found["models"] = models_plot(report["models"], MODEL_NAMES, LANGUAGE_NAMES, "plot-models", label)
    if "vocabulary" in report:
        found["fertility"] = fertility_plot(report["vocabulary"], "plot-fertility", "출처별 어절당 토큰 수 막대그래프")
        if report["vocabulary"]["curve"] and report["vocabulary"]["total"]["eojeols"]:
            found["curve"] = curve_plot(report["vocabulary"], "plot-curve", "새 토큰 수에 따른 어절당 토큰 수 곡선")
    pretraining = report.get("pretraining")
    if pretraining and pretraining["loss"]:
        found["loss"] = loss_plot(pretraining, "plot-loss", "adapted", "추가 사전학습의 손실 곡선")
    if pretraining and pretraining["bits_per_byte"]:
        found["bits"] = bits_plot(pretraining, "plot-bits", "추가 사전학습 중의 바이트당 비트 곡선")
    if report.get("instruction", {}).get("loss"):
        found["instruction"] = loss_plot(report["instruction"], "plot-instruction", "tuned", "지시 학습의 손실 곡선")
    return found


def _duration(seconds: float) -> str:
    """Seconds as people say them in Korean: 7.5초, 3분 20초, 2시간 5분."""
    if seconds < 60:
        return f"{seconds:.1f}초"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}분 {rest}초" if minutes < 60 else f"{minutes // 60}시간 {minutes % 60}분"


def _minute(moment: str) -> str:
    """An ISO moment as "2026-11-21 05:33 UTC"; empty where there is none."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else ""
