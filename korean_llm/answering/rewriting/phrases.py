"""Noun phrases of a Korean question with their particles, and what kind of thing they name.

Only what the rewriting of follow-up questions needs: which phrases name a subject of their own, and which say
something about a subject that somebody has named before (its price, its Sunday, its children's ticket).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from korean_llm.kiwi import Morpheme, analyse

Kind = Literal["time", "aspect", "role", "name", "thing"]

_TIMES = {
    "day": r".{0,2}요일|평일|주말|휴일|공휴일|연휴|명절|설날|추석|방학",
    "date": r"오늘|내일|모레|어제|그저께",
    "year": r"올해|작년|내년|지난해|재작년|\d+년|금년",
    "month": r"\d+월|이번 ?달|지난 ?달|다음 ?달",
    "part": r"아침|점심|점심시간|저녁|새벽|오전|오후|밤|낮|야간",
    "season": r"봄|여름|가을|겨울|봄철|여름철|가을철|겨울철",
}
_TIME = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _TIMES.items()))

_ASPECTS = re.compile(
    "가격|값|비용|요금|금액|돈|수수료|입장료|관람료|이용료|회비|급여|월급|세금|벌금|과태료|연체료|보증금|할인|"
    "환불|무료|유료|시간|기간|기한|날짜|일정|마감|시기|순서|절차|방법|과정|신청|접수|예약|등록|취소|연장|반납|"
    "갱신|변경|해지|조건|자격|대상|서류|준비물|재료|위치|장소|주소|전화|전화번호|연락처|번호|문의|홈페이지|"
    "주차|주차장|교통편|이유|원인|까닭|결과|효과|증상|부작용|치료|예방법|주의점|주의|장점|단점|차이|차이점|"
    "특징|종류|이름|뜻|의미|유래|역사|크기|무게|길이|높이|넓이|면적|깊이|인구|수도|색|색깔|모양|맛|고향|나이|"
    "직업|업적|작품|대표작|가족|부모|아들|딸|아내|남편|예외|처벌|횟수|한도|최대|최소|정원|온라인|인터넷|"
    "전화로|방문|우편|대리인|본인|현금|카드|예시|예|자세|설명|내용|출처|근거"
)
_ROLES = re.compile(
    "어른|성인|어린이|아이|아기|유아|청소년|학생|대학생|초등학생|중학생|고등학생|노인|어르신|경로|외국인|"
    "내국인|장애인|군인|임산부|여자|남자|여성|남성|엄마|아빠|부부|단체|개인|회원|비회원|주민|직장인|자영업자|"
    "공무원|동반자|보호자"
)
_EMPTY = re.compile(
    "것|거|수|때|경우|질문|점|데|줄|번|이번|다음|얼마|언제|무엇|뭐|누구|어디|몇|동안|쪽|말|안녕|말씀|궁금|"
    "가능|필요|정도"
)
_NOUNS = frozenset({"NNG", "NNP", "NR", "SN", "SL", "SH", "XR", "NNB", "XPN", "XSN"})
_PARTICLES = frozenset({"JX", "JKS", "JKO", "JKB", "JKG", "JKC", "JC", "JKV"})


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: its words, each with its tag, and the particle after the last one."""

    words: tuple[tuple[str, str], ...]
    particle: str

    @property
    def text(self) -> str:
        """The phrase without its last particle."""
        return " ".join(word for word, _ in self.words)

    @property
    def head(self) -> str:
        """Its last word without inner particles."""
        return self.words[-1][0]

    @property
    def kind(self) -> Kind:
        """What kind of thing it names."""
        bare = [word.removesuffix("의") for word, _ in self.words]
        if time_of(self.text):
            return "time"
        if all(_ASPECTS.fullmatch(word) for word in bare):
            return "aspect"
        if _ROLES.fullmatch(bare[-1]):
            return "role"
        return "name" if any(tag == "NNP" for _, tag in self.words) else "thing"

    @property
    def adverbial(self) -> bool:
        """Whether it says how, not what about."""
        return self.particle.startswith(("으로", "로", "만큼", "처럼", "보다"))


def time_of(text: str) -> str:
    """Which kind of time a phrase names (day, month, …), or ""."""
    match = _TIME.fullmatch(text)
    return str(match.lastgroup) if match else ""


def is_aspect(word: str) -> bool:
    """Whether a word names what something has (a price, a place, a reason), never a subject of its own."""
    return _ASPECTS.fullmatch(word.removesuffix("의")) is not None


def phrases(question: str) -> list[Phrase]:
    """The noun phrases of a question in order; words that only ask (무엇, 얼마) are left out."""
    found: list[Phrase] = []
    open_words: list[tuple[str, str]] = []
    for surface, morphemes in _eojeols(question):
        word, tag, particle = _noun_of(surface, morphemes)
        if not word or _EMPTY.fullmatch(word):
            found += _closed(open_words, "")
            open_words = []
            continue
        goes_on = particle in ("", "의") and not re.search(r"[,.?!;:]$", surface)
        open_words.append((word + particle if goes_on else word, tag))
        if not goes_on:
            found += _closed(open_words, particle)
            open_words = []
    return found + _closed(open_words, "")


def _closed(words: list[tuple[str, str]], particle: str) -> list[Phrase]:
    return [Phrase(tuple(words), particle)] if words else []


def _eojeols(question: str) -> list[tuple[str, list[Morpheme]]]:
    """Every eojeol with its morphemes."""
    surfaces = question.split()
    parts: list[list[Morpheme]] = [[] for _ in surfaces]
    for morpheme in next(iter(analyse([" ".join(surfaces)]))):
        if morpheme.eojeol < len(parts):
            parts[morpheme.eojeol].append(morpheme)
    return list(zip(surfaces, parts, strict=True))


def _noun_of(surface: str, morphemes: list[Morpheme]) -> tuple[str, str, str]:
    """The noun that an eojeol begins with, its tag, and its particles; "" where it is a verb or begins otherwise."""
    nouns: list[Morpheme] = []
    particle = ""
    for morpheme in morphemes:
        if morpheme.tag in _NOUNS and not particle:
            nouns.append(morpheme)
        elif morpheme.tag in _PARTICLES and nouns and morpheme.form != "요":
            particle += morpheme.form
        elif morpheme.tag in ("XSV", "XSA", "VV", "VA", "VX"):
            return ("", "", "") if morpheme.tag.startswith("X") else (_text(nouns), _tag(nouns), particle)
    return _text(nouns), _tag(nouns), particle


def _text(nouns: list[Morpheme]) -> str:
    return "".join(noun.form for noun in nouns)


def _tag(nouns: list[Morpheme]) -> str:
    return "NNP" if any(noun.tag == "NNP" for noun in nouns) else nouns[-1].tag if nouns else ""


def has_predicate(question: str) -> bool:
    """Whether a question says something of its subject, or only names it ("일요일은요?")."""
    tags = {morpheme.tag for _, parts in _eojeols(question) for morpheme in parts}
    asks = re.search(r"얼마|언제|어디|누구|무엇|뭐|왜|어떻|어때", question)
    return bool(tags & {"VV", "VA", "VCP", "VCN", "XSV", "XSA"} or asks)


def with_particle(word: str, particle: str) -> str:
    """The word with a particle in the form that its last sound wants: 은/는, 이/가, 을/를, 과/와, 으로/로."""
    code = (ord(word[-1]) - 0xAC00) % 28 if word and "가" <= word[-1] <= "힣" else 0
    for closed, opened in (("은", "는"), ("이", "가"), ("을", "를"), ("과", "와"), ("으로", "로")):
        if particle in (closed, opened):
            to_ro = closed == "으로" and code == 8  # ㄹ takes 로
            return word + (closed if code and not to_ro else opened)
    return word + particle
