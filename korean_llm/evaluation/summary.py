"""What the figures say, in a few honest sentences, and the before/after table in rows ready to print."""

from __future__ import annotations

from typing import Any, Literal

Report = dict[str, Any]
Tone = Literal["better", "worse", "note"]

MODEL_NAMES = {
    "base": "원본",
    "extended": "어휘 확장 직후",
    "adapted": "추가 사전학습 후",
    "tuned": "지시 학습 후",
}
LANGUAGE_NAMES = {"ko": "한국어", "en": "영어"}
ARM_NAMES = {"lexical": "낱말 검색", "dense": "벡터 검색", "hybrid": "혼합 검색"}

# A relative change of bits per byte below this counts as none.
_SAME = 0.005
# A rise above this is no longer called slight.
_MUCH = 0.02
_SMALL_HOLDOUT_BYTES = 100_000


def percent(change: float) -> str:
    """A relative change with its sign, such as +1.2% or −69.0%; 0.0% has none."""
    text = f"{change:+.1%}".replace("-", "−")
    return "0.0%" if text in ("+0.0%", "−0.0%") else text


def file_size(size: int | None) -> str:
    """Bytes as megabytes, or as kilobytes below one; a dash where the size is not known."""
    if size is None:
        return "–"
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} KB"


def model_rows(report: Report) -> list[dict[str, Any]]:
    """The before/after table as text, a row per model; what differs by language is a {language: text}.

    Keys: role, name, bits_per_byte, change (against the base, empty for the base itself), tone, texts_better,
    bytes_per_token, tokens_per_eojeol, tokens_per_s.
    """
    texts = {language: part["texts"] for language, part in report["holdout"]["languages"].items()}
    return [
        {
            "role": model["role"],
            "name": MODEL_NAMES[model["role"]],
            "bits_per_byte": {language: f"{value:.3f}" for language, value in model["bits_per_byte"].items()},
            "change": {
                language: percent(value) if model["role"] != "base" else ""
                for language, value in model["change_from_base"].items()
            },
            "tone": {language: _tone(value) for language, value in model["change_from_base"].items()},
            "texts_better": {
                language: f"{texts[language]}편 중 {count}편 낮음" if model["role"] != "base" else ""
                for language, count in model["texts_better_than_base"].items()
            },
            "bytes_per_token": {language: f"{value:.2f}" for language, value in model["bytes_per_token"].items()},
            "tokens_per_eojeol": f"{model['tokens_per_eojeol']:.2f}" if model["tokens_per_eojeol"] else "",
            "tokens_per_s": f"{model['scored_tokens_per_s']:,.0f}",
        }
        for model in report["models"]
    ]


def _tone(change: float) -> Tone:
    """Bits per byte that fall are better."""
    return "note" if abs(change) < _SAME else "better" if change < 0 else "worse"


def headline(report: Report) -> list[dict[str, str]]:
    """The few figures at the top of the page: {"label", "note", "before", "after", "change", "tone"}."""
    tiles = []
    vocabulary = report.get("vocabulary")
    if vocabulary and vocabulary["total"]["eojeols"]:
        before, after = (vocabulary["total"]["tokens_per_eojeol"][role] for role in ("base", "extended"))
        note = "원본 → 어휘 확장"
        tiles.append(_tile("한국어 어절당 토큰", note, f"{before:.2f}", f"{after:.2f}", after / before - 1))
    models = {model["role"]: model for model in report["models"]}
    last = models.get("adapted", models.get("extended"))
    if last:
        for language, after in last["bits_per_byte"].items():
            label = f"{LANGUAGE_NAMES.get(language, language)} 바이트당 비트"
            before = _bits(models["base"], language)
            note = f"원본 → {MODEL_NAMES[last['role']]}"
            tiles.append(_tile(label, note, f"{before:.3f}", f"{after:.3f}", last["change_from_base"][language]))
    retrieval = report.get("retrieval")
    if retrieval and retrieval["arms"]:
        found = f"{retrieval['arms']['hybrid']['recall@5']:.1%}"
        note = "상위 5개 문단 안에 근거가 있음"
        count = f"질문 {retrieval['questions']}개"
        tiles.append(
            {"label": "검색 recall@5", "note": note, "before": "", "after": found, "change": count, "tone": "note"}
        )
    return tiles


def _tile(label: str, note: str, before: str, after: str, change: float) -> dict[str, str]:
    """A figure before and after, of which less is better."""
    figures = {"before": before, "after": after, "change": percent(change), "tone": _tone(change)}
    return {"label": label, "note": note, **figures}


def summarize(report: Report) -> list[dict[str, str]]:
    """Sentences {"tone", "text"} that follow from the report's figures, most important first."""
    models = {model["role"]: model for model in report["models"]}
    sentences = [
        *_about_vocabulary(report.get("vocabulary")),
        *_about_korean(models),
        *_about_english(models),
        *_about_tuning(models, report.get("instruction")),
        *_about_export(report.get("export")),
        *_about_retrieval(report.get("retrieval")),
        *_about_holdout(report["holdout"]["languages"]),
    ]
    return [{"tone": tone, "text": text} for tone, text in sentences]


Sentences = list[tuple[Tone, str]]


def _about_vocabulary(section: dict[str, Any] | None) -> Sentences:
    if not section or not section["total"]["eojeols"]:
        return []
    before, after = (section["total"]["tokens_per_eojeol"][role] for role in ("base", "extended"))
    figures = f"한국어 한 어절을 적는 데 드는 토큰이 {before:.2f}개에서 {after:.2f}개로"
    if section["verdict"].get("recommendation") == "do not extend":
        return [
            (
                "worse",
                f"{figures} {1 - after / before:.0%} 줄었을 뿐입니다. 이 원본 모델에는 어휘 확장을 권하지 않습니다.",
            )
        ]
    return [
        (
            "better",
            f"{figures} {1 - after / before:.0%} 줄었습니다. 같은 문맥 길이에 한국어가 약 {before / after:.1f}배"
            " 들어갑니다.",
        )
    ]


def _bits(model: dict[str, Any], language: str) -> float:
    return float(model["bits_per_byte"][language])


def _about_korean(models: dict[str, dict[str, Any]]) -> Sentences:
    """Where the Korean of the untuned models stands: against the base, and against the moment after extension."""
    if "ko" not in models["base"]["bits_per_byte"]:
        return []
    base = _bits(models["base"], "ko")
    extended, adapted = (_bits(models[role], "ko") if role in models else None for role in ("extended", "adapted"))
    measure = "한국어 한 바이트를 예측하는 데 드는 정보량"
    if adapted is None:
        return [_only_extended(measure, base, extended)] if extended is not None else []
    before = extended if extended is not None else base
    moved = f"{measure}이 추가 사전학습으로 {before:.3f}비트에서 {adapted:.3f}비트로"
    change = adapted / base - 1
    if adapted >= before:
        return [("worse", f"{moved} 바뀌어 낮아지지 않았습니다. 학습량이나 학습률을 다시 살펴야 합니다.")]
    if extended is None:
        return [("better", f"{moved} {-change:.1%} 낮아졌습니다.")]
    if adapted < base:
        return [("better", f"{moved} 낮아져, 확장하지 않은 원본({base:.3f}비트)보다도 {-change:.1%} 낮습니다.")]
    return [
        (
            "worse",
            f"{moved} 낮아져 확장 직후보다 나아졌으나, 확장하지 않은 원본({base:.3f}비트)에는 아직 못"
            f" 미칩니다({change:.1%} 높음).",
        )
    ]


def _only_extended(measure: str, base: float, extended: float) -> tuple[Tone, str]:
    change = extended / base - 1
    if change <= 0:
        return ("better", f"{measure}은 어휘 확장만으로 {base:.3f}비트에서 {extended:.3f}비트로 낮아졌습니다.")
    return (
        "worse",
        f"{measure}은 어휘를 늘린 직후 {extended:.3f}비트로, 원본({base:.3f}비트)보다 {change:.1%} 높습니다."
        " 새 토큰을 아직 배우지 않았기 때문이며, 추가 사전학습이 필요합니다.",
    )


def _about_english(models: dict[str, dict[str, Any]]) -> Sentences:
    model = models.get("adapted", models.get("extended"))
    if model is None or "en" not in model["bits_per_byte"]:
        return []
    before, after, change = _bits(models["base"], "en"), _bits(model, "en"), model["change_from_base"]["en"]
    figures = f"({before:.3f}비트 → {after:.3f}비트, {percent(change)})"
    tone = _tone(change)
    texts = {
        "note": f"영어는 거의 그대로입니다{figures}.",
        "better": f"영어는 오히려 나아졌습니다{figures}.",
        "worse": f"영어는 조금 나빠졌습니다{figures}."
        if change < _MUCH
        else f"영어가 눈에 띄게 나빠졌습니다{figures}.",
    }
    return [(tone, texts[tone])]


def _about_tuning(models: dict[str, dict[str, Any]], section: dict[str, Any] | None) -> Sentences:
    if "tuned" not in models:
        return []
    before = list(models.values())[-2]
    parts = [
        f"{LANGUAGE_NAMES.get(language, language)} {_bits(before, language):.3f} → {after:.3f}비트"
        for language, after in models["tuned"]["bits_per_byte"].items()
    ]
    sentences: Sentences = []
    if section and section["holdout_loss_before"] and section["holdout_loss_after"]:
        first, last = section["holdout_loss_before"], section["holdout_loss_after"]
        better = last < first
        end = "낮아졌습니다" if better else "바뀌어 낮아지지 않았습니다"
        count = section["held_out"]
        text = (
            f"지시 학습에서, 배우지 않은 예시 {count}개의 답변 손실이 토큰당 {first:.2f}nat에서 {last:.2f}nat로 {end}."
        )
        sentences.append(("better" if better else "worse", text))
    rises = [after / _bits(before, language) - 1 for language, after in models["tuned"]["bits_per_byte"].items()]
    if parts:
        tone: Tone = "worse" if max(rises) > _MUCH else "note"
        sentences.append((tone, f"지시 학습을 거치면서 일반 글의 바이트당 비트는 {', '.join(parts)}로 바뀌었습니다."))
    return sentences


def _about_export(section: dict[str, Any] | None) -> Sentences:
    files = [file for file in section["files"] if file["rise"]] if section else []
    if not files:
        return []
    small = min(files, key=lambda file: file["bytes"])
    rises = {language: small["rise"][language] for language in LANGUAGE_NAMES if language in small["rise"]}
    figures = ", ".join(f"{LANGUAGE_NAMES[language]} {percent(rise)}" for language, rise in rises.items())
    tone: Tone = "worse" if _tone(max(rises.values())) == "worse" else "note"
    subject = f"가장 작은 양자화 파일({file_size(small['bytes'])})의 바이트당 비트는"
    return [(tone, f"{subject} 양자화하지 않은 모델에 견주어 {figures}입니다.")]


def _about_retrieval(section: dict[str, Any] | None) -> Sentences:
    if not section or not section["arms"]:
        return []
    share = f"질문 {section['questions']}개 가운데 {section['arms']['hybrid']['recall@5']:.1%}"
    found = f"검색은 {share}에서 근거 문단을 상위 5개 안에 올렸습니다."
    if not section["fusion"]:
        return [("note", found)]
    tone, compared = _about_fusion(section["fusion"])
    return [(tone, f"{found} {compared}")]


def _about_fusion(fusion: dict[str, Any]) -> tuple[Tone, str]:
    """Better or worse only where the interval leaves out zero."""
    low, high = (round(bound, 3) for bound in fusion["interval"])
    figures = f"nDCG@10 {fusion['ndcg@10']:+.3f}, 95% 구간 {low:+.3f}~{high:+.3f}".replace("-", "−")
    subject = f"혼합 검색은 {ARM_NAMES[fusion['over']]}만 쓸 때"
    if low > 0:
        return "better", f"{subject}보다 낫습니다({figures})."
    if high < 0:
        return "worse", f"{subject}보다 오히려 못합니다({figures})."
    return "note", f"{subject}와 차이가 있다고 말하기에는 질문이 적습니다({figures})."


def _about_holdout(holdout: dict[str, dict[str, int]]) -> Sentences:
    sizes = [
        f"{LANGUAGE_NAMES.get(name, name)} {part['texts']}편 {part['bytes'] / 1e3:.1f}KB"
        for name, part in holdout.items()
    ]
    missing = [LANGUAGE_NAMES[name] for name in LANGUAGE_NAMES if name not in holdout]
    sentences: Sentences = []
    if sizes and min(part["bytes"] for part in holdout.values()) < _SMALL_HOLDOUT_BYTES:
        sentences.append(
            ("note", f"평가에 쓴 글은 {', '.join(sizes)}뿐입니다. 작은 차이는 글이 달라지면 뒤집힐 수 있습니다.")
        )
    if missing:
        sentences.append(("note", f"따로 떼어 둔 {'·'.join(missing)} 글이 없어 그 언어는 재지 못했습니다."))
    return sentences
