"""What kind of thing a Korean question asks for: a number with a unit, a sum of money, a time; and small talk."""

from __future__ import annotations

import re
from collections.abc import Callable

from korean_llm.answering.quantities import quantities, time_words, unit_of

Holds = Callable[[str], float]
"""Text → the share of what is asked for that it holds, in [0, 1]."""

_HOW_MANY = re.compile(r"몇\s*([가-힣]{1,4}|[A-Za-z]{1,2}\b|%)")
_MONEY = re.compile(
    r"(?:값|가격|비용|요금|비|금액|돈|월급|료|시세|견적|매출|예산)(?:[은는이가을를도]|으로|만)?\s*(?:\S+\s+){0,3}얼마"
    r"|얼마(?:예요|인가요|입니까|이에요|야|에\s|죠|쯤\s하)"
)
_TIME = re.compile(r"언제|며칠|무슨 요일|얼마나 (?:걸|기다|자주)|얼마마다|얼마 동안|얼마나 오래")
_TIME_UNITS = frozenset({"년", "월", "일", "시", "분", "초", "주", "개월", "시간", "살"})
_SEASONS = re.compile(r"아침|저녁|이튿날|다음|때|봄|여름|가을|겨울|연휴|끝나")
_ALIKE = {
    "명": {"명", "분", "마리"},
    "분": {"분", "명"},
    "%": {"%", "할", "분의"},
    "일": {"일", "주"},
    "층": {"층", "호"},
}

_SMALL_TALK = re.compile(
    r"(?:안녕(?:하세요|하십니까|히\s?계세요)?|반가워요?|반갑습니다|고마워요?|고맙습니다|감사합니다|감사해요?|땡큐|하이|헬로|hi|hello"
    r"|좋은\s?(?:아침|저녁|하루)(?:이에요|입니다)?|잘\s?(?:자요?|지내요?|있어요?)|수고(?:하셨습니다|했어요?|하세요)"
    r"|(?:너는?|넌|당신은|네)\s?(?:누구(?:야|니|세요|예요|인가요)|이름이?\s?(?:뭐야|뭐예요|뭐니))|이름이\s?(?:뭐야|뭐예요|뭐니|무엇인가요)"
    r"|(?:뭘|무엇을|뭐)\s?할\s?수\s?있(?:어요?|나요|니)|(?:오늘\s?)?기분이?\s?(?:어때요?|좋아요?)|도와\s?(?:주세요|줘요?)|테스트"
    r"|그렇군요|알겠(?:습니다|어요?)|사랑해요?|밥\s?먹었(?:어요?|니)|(?:심심한데\s?)?농담\s?(?:하나\s?)?해\s?(?:줘요?|주세요)|[ㅋㅎㅠㅜ]{2,}"
    r"|재밌(?:다|네요|어요)|큰\s?도움이\s?됐어요)"
)
_BETWEEN = re.compile(r"[\s.,!?~…·]*")


def asked_kind(question: str) -> Holds | None:
    """How much of what a question asks for a text holds; None where its words do not say what kind of thing that is."""
    if units := {unit for name in _HOW_MANY.findall(question) if (unit := _unit(name))}:
        return lambda text: sum(_holds(text, _ALIKE.get(unit, {unit})) for unit in units) / len(units)
    if _MONEY.search(question):
        return lambda text: float(_holds(text, {"원"}))
    if _TIME.search(question):
        return lambda text: float(bool(_SEASONS.search(text) or time_words(text)) or _holds(text, _TIME_UNITS))
    if "얼마" in question:
        return lambda text: float(any(True for _ in quantities(text)))
    return None


def is_small_talk(question: str) -> bool:
    """Whether a question is nothing but greetings, thanks and the like."""
    rest = _SMALL_TALK.sub("", question.lower())
    return rest != question.lower() and not _BETWEEN.sub("", rest)


def _unit(name: str) -> str:
    """The unit that a word begins with, the longest one."""
    return next((unit for end in range(len(name), 0, -1) if (unit := unit_of(name[:end]))), "")


def _holds(text: str, units: set[str] | frozenset[str]) -> bool:
    return any(quantity.unit in units for quantity in quantities(text))
