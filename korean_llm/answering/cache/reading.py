"""The morphemes of a question in one wording for each: particles, endings, politeness, numbers, modal phrases."""

from __future__ import annotations

from itertools import pairwise

from korean_llm.answering.cache.numerals import with_values
from korean_llm.answering.cache.wordings import (
    ASK,
    ASKING,
    DROPPED,
    GENTLE,
    HOMONYMS,
    MODALS,
    NOUN_TAGS,
    PARTICLES,
    REQUESTS,
    STATIVE,
    SUBJECT,
    SYNONYMS,
    TELL,
    TELLING,
    VERB_TAGS,
)
from korean_llm.kiwi import Morpheme


def read(morphemes: list[Morpheme], text: str) -> list[tuple[str, str]]:
    """(form, tag) of each morpheme, in the one wording for each; particles get the tag J, numbers the tag #."""
    eojeols = text.split()
    morphemes = _glued(morphemes)
    tokens = [token for morpheme in morphemes if (token := _token(morpheme, eojeols)) is not None]
    read = _modals(_joined(with_values(_polite(tokens))))
    return [*read[:-1], TELL] if _requests(morphemes) else read


def _glued(morphemes: list[Morpheme]) -> list[Morpheme]:
    """A noun of one syllable, or one after such, marked where it is written on to the noun before (집안, 집 안)."""
    out = morphemes[:1]
    for before, morpheme in pairwise(morphemes):
        nouns = before.tag in ("NNG", "NNP") and morpheme.tag in ("NNG", "NNP")
        glued = nouns and before.eojeol == morpheme.eojeol and 1 in (len(before.form), len(morpheme.form))
        out.append(morpheme._replace(form=f"^{morpheme.form}") if glued else morpheme)
    return out


def _requests(morphemes: list[Morpheme]) -> bool:
    """Whether the end is a request to be told: "알려 줘", "가르쳐 주세요", "알려 주실 수 있나요"."""
    told = next((at for at in range(len(morphemes) - 1, -1, -1) if morphemes[at].form in TELLING), None)
    if told is None:
        return False
    forms = [morpheme.form for morpheme in morphemes[told + 1 :] if morpheme.tag != "SF"]
    if forms[-1:] == ["요"]:
        forms = forms[:-1]
    if forms[:2] != ["어", "주"] or len(forms) < 3:
        return False
    asked = forms[2:-1]
    direct = not asked and forms[-1] in REQUESTS
    return direct or asked in (["시", "겠"], ["시", "ᆯ", "수", "있"])


def _token(morpheme: Morpheme, eojeols: list[str]) -> tuple[str, str] | None:
    form, tag, eojeol = morpheme
    if tag == "IC" or (tag == "MAG" and form in DROPPED) or (tag == "EP" and form in ("시", "으시")):
        return None
    if tag[0] == "J" and tag != "JKG":
        return PARTICLES.get(f"{form}/{tag}", SUBJECT if tag == "JKC" else form), "J"
    if tag in VERB_TAGS and form in HOMONYMS:
        form = f"{form}({eojeols[eojeol]})"
    if tag in ("EC", "ETM"):
        form = _short(form, tag)
    form = SYNONYMS.get(form, form)
    return form, "NP" if form == "언제" else "MAG" if form == "가장" else tag


def _short(form: str, tag: str) -> str:
    """An ending in the form it takes after a vowel, and with 어 for 아."""
    if tag == "ETM":
        return {"을": "ᆯ", "은": "ᆫ"}.get(form, form)
    if form.startswith("으") and len(form) > 1:
        form = form[1:]
    return "어" + form[1:] if form[0] in "아여" else {"ᆫ데": "은데"}.get(form, form)


def _polite(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Final endings of plain questions become one; the 요 after them goes."""
    out: list[tuple[str, str]] = []
    for form, tag in tokens:
        if (form, tag) == ("요", "J") and out and out[-1][1] in ("EF", ASK):
            continue
        gentle = tag == "EF" and form in GENTLE and bool(out) and (out[-1][0] in STATIVE or out[-1][1] == "VA")
        out.append((ASK, "EF") if tag == "EF" and (form in ASKING or gentle) else (form, tag))
    return out


def _joined(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Prefixes and suffixes of nouns become part of them; 어떻/VA 게/EC becomes an adverb."""
    out: list[tuple[str, str]] = []
    for form, tag in tokens:
        before = out[-1] if out else ("", "")
        if (tag in NOUN_TAGS and before[1] == "XPN") or (tag == "XSN" and before[1] in ("NNG", "NNP", "XR")):
            out[-1] = (before[0] + form, "NNG")
        elif form == "게" and tag == "EC" and before == ("어떻", "VA"):
            out[-1] = ("어떻게", "MAG")
        elif form == "어떡하":
            out += [("어떻게", "MAG"), ("하", "VV")]
        else:
            out.append((form, tag))
    return out


def _modals(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Modal turns of phrase as one token of the tag M each (a turned ending keeps the tag EC)."""
    out: list[tuple[str, str]] = []
    at = 0
    while at < len(tokens):
        turn = next((turn for turn in MODALS if _stands(tokens, at, turn[0])), None)
        if turn is None:
            out.append(tokens[at])
            at += 1
        else:
            out += [(name.partition("/")[0], name.partition("/")[2] or "M") for name in turn[1]]
            at += len(turn[0])
    return out


def _stands(tokens: list[tuple[str, str]], at: int, pattern: tuple[str, ...]) -> bool:
    part = tokens[at : at + len(pattern)]
    return len(part) == len(pattern) and all(
        (form if tag == "J" else f"{form}/{'V' if tag in VERB_TAGS else tag}") == wanted
        for (form, tag), wanted in zip(part, pattern, strict=True)
    )
