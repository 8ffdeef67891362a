"""Roundabout ways of asking made plain: "…를 알려 주세요", "…하는 방법", "…하는 이유", "…하려면 어떻게 해야 하나요"."""

from __future__ import annotations

from dataclasses import replace

from korean_llm.answering.cache.frames import Clause, Frame, Phrase
from korean_llm.answering.cache.wordings import (
    ASK,
    DATES,
    OBJECT,
    PRICES,
    SUBJECT,
    TELL,
    THINGS,
    TOPIC,
    VALUES,
    VERB_TAGS,
)

Token = tuple[str, str]
_WAY = ("방법",)
_REASON = ("이유",)
_BARE_WH = frozenset({"무엇", "언제", "어디", "얼마", "누구", "며칠"})
_ASKED = ("무엇", "이")


def plain_tokens(tokens: list[Token]) -> list[Token]:
    """The tokens without a request to be told ("… 궁금해요"); what is asked for then ends as a plain question."""
    rest = _without_request(tokens) if len(tokens) > 1 else None
    if rest is None:
        return _ended(tokens)
    while rest and rest[-1] == ("자세히", "MAG"):
        rest = rest[:-1]
    if not rest:
        return tokens
    if rest[-1][0] in (OBJECT, SUBJECT) and rest[-1][1] == "J" and len(rest) > 1 and rest[-2][1] == "EC":
        rest = rest[:-1]
    if rest[-1] in (("ᆫ지", "EC"), ("는지", "EC"), ("은지", "EC")):
        return [*rest[:-1], (ASK, "EF")]
    if rest[-1][1] == "J" and rest[-1][0] in (OBJECT, SUBJECT, TOPIC):
        rest = rest[:-1]
    if rest and rest[-1][1] in ("NNG", "NNB", "NNP"):
        return [*rest, TELL]
    return tokens


def _without_request(tokens: list[Token]) -> list[Token] | None:
    """The tokens before "알려 주세요", "알고 싶어요" or "궁금해요" at the end; None where there is no such request."""
    forms = [form for form, _ in tokens]
    if tokens[-1:] == [TELL]:
        return tokens[: max(at for at, form in enumerate(forms) if form in ("알리", "가르치"))]
    if tokens[-1:] and tokens[-1][1] == "EF":
        if forms[-4:-1] == ["알", "고", "싶"]:
            return tokens[:-4]
        if forms[-2] == "궁금하":
            return tokens[:-2]
        if forms[-3:-1] == ["궁금", "하"]:
            return tokens[:-3]
    return None


def _ended(tokens: list[Token]) -> list[Token]:
    """A question that stops at its question word or at what is asked for, with the ending it lacks."""
    if len(tokens) > 1 and tokens[-1][0] in _BARE_WH and tokens[-1][1] not in VERB_TAGS:
        return [*tokens, ("이", "VCP"), (ASK, "EF")]
    rest = tokens[:-1] if tokens and tokens[-1] == (TOPIC, "J") else tokens
    if rest and rest[-1][1] in ("NNG", "NNB") and rest[-1][0].endswith((*VALUES, *PRICES, *DATES)):
        return [*rest, TELL]
    return tokens


def plain(frame: Frame) -> Frame:
    """The frame with its last clause, and the one before it where they belong together, in the plainest wording."""
    if not frame.clauses:
        return frame
    *before, last = (_done(clause) for clause in frame.clauses)
    last = _attribute(_told(_without_me(last, first=not before), alone=not before))
    last = _way(_reason(last))
    if before and before[-1].ending == "려면" and _is_how(last):
        *before, condition = before
        last = replace(condition, phrases=(*condition.phrases, *last.phrases), ending=ASK)
    if last.ending == ASK and any(phrase.words == ("어떻게",) for phrase in last.phrases):
        last = _how(last)
    return Frame((*before, _where(_possible(last))))


def _done(clause: Clause) -> Clause:
    """ "신청은 어디에서 하나요" as "어디에서 신청하나요": 하다 takes up the last noun of what is done."""
    clause = _with_plain_modifiers(clause)
    if clause.verb[:1] != ("하",):
        return clause
    for role in (OBJECT, TOPIC, ""):
        for at in range(len(clause.phrases) - 1, -1, -1):
            phrase = clause.phrases[at]
            if phrase.role == role and phrase.words and _can_be_done(phrase, role, at == len(clause.phrases) - 1):
                rest = (Phrase(phrase.words[:-1], "", phrase.modifier),) if phrase.words[:-1] else ()
                phrases = (*clause.phrases[:at], *rest, *clause.phrases[at + 1 :])
                return replace(clause, phrases=phrases, verb=(phrase.words[-1] + "하", *clause.verb[1:]))
    return clause


def _can_be_done(phrase: Phrase, role: str, is_last: bool) -> bool:
    """Whether 하다 may take up the phrase: no question word, and without a particle only right before it."""
    if phrase.modifier or phrase.words[-1] in _BARE_WH or phrase.words[-1].startswith("#"):
        return False
    return role == OBJECT or (role == TOPIC and phrase.words[-1] in THINGS) or (role == "" and is_last)


def _with_plain_modifiers(clause: Clause) -> Clause:
    phrases = tuple(
        replace(phrase, modifier=_done(phrase.modifier)) if phrase.modifier else phrase for phrase in clause.phrases
    )
    return replace(clause, phrases=phrases)


def _without_me(clause: Clause, *, first: bool) -> Clause:
    """Without "저는" where nobody else is said to do anything."""
    subjects = [phrase for phrase in clause.phrases if phrase.role in (SUBJECT, TOPIC)]
    me = len(subjects) == 1 and subjects[0].role == TOPIC and subjects[0].words in (("저",), ("나",))
    if first and me:
        return replace(clause, phrases=tuple(phrase for phrase in clause.phrases if phrase is not subjects[0]))
    return clause


def _told(clause: Clause, *, alone: bool) -> Clause:
    """ "…를 알려 주세요" and "…가 어떻게 되나요" as the question for the value of an amount, a date, a name.

    After a condition, or with anything else said, "어떻게 되나요" may ask what becomes of it.
    """
    if clause.ending == TELL[0] and not clause.verb and clause.phrases:
        wanted = clause.phrases[-1]
        if any(phrase.role == SUBJECT for phrase in clause.phrases[:-1]):
            return clause
    elif clause.verb == ("되",) and clause.ending == ASK and alone and len(clause.phrases) == 2:
        wanted, how = clause.phrases
        if how.words != ("어떻게",) or wanted.role not in (SUBJECT, TOPIC, "") or not _has_value(wanted):
            return clause
        clause = replace(clause, phrases=clause.phrases[:-1])
    else:
        return clause
    verb = _question_for(wanted)
    if verb is None:
        return clause
    phrases = (*clause.phrases[:-1], replace(wanted, role=SUBJECT))
    return Clause(phrases, verb, ASK, descriptive=True)


def _has_value(phrase: Phrase) -> bool:
    return bool(phrase.words) and phrase.words[-1].endswith((*PRICES, *DATES, *VALUES))


def _question_for(phrase: Phrase) -> tuple[str, ...] | None:
    if not phrase.words:
        return None
    noun = phrase.words[-1]
    if noun.endswith(PRICES):
        return "얼마", "이"
    if noun.endswith(DATES):
        return "언제", "이"
    return _ASKED if noun.endswith(VALUES) or phrase.modifier else None


def _attribute(clause: Clause) -> Clause:
    """ "도서관은 휴관일이 언제", "도서관 휴관일은 언제" as one; "비용이 얼마나 드나요" as "비용이 얼마인가요"."""
    *rest, last = clause.phrases or (Phrase(()),)
    if clause.verb in (("~얼마나", "들"), ("~얼마나", "되")) and last.words and last.words[-1].endswith(PRICES):
        clause = replace(clause, verb=("얼마", "이"), descriptive=True)
    if len(clause.verb) != 2 or clause.verb[1] != "이" or clause.verb[0] not in _BARE_WH:
        return clause
    if not last.words or last.role not in (SUBJECT, TOPIC, ""):
        return clause
    if len(rest) == 1 and rest[0].role in (TOPIC, "") and not last.modifier and rest[0].words:
        last = Phrase((*rest[0].words, *last.words), SUBJECT, rest[0].modifier)
        rest = []
    return replace(clause, phrases=(*rest, replace(last, role=SUBJECT)))


def _asked_noun(clause: Clause, nouns: tuple[str, ...]) -> Phrase | None:
    """The one phrase of "… 방법이 무엇인가요", where its noun is one of these."""
    if clause.verb != _ASKED or clause.ending != ASK or len(clause.phrases) != 1:
        return None
    phrase = clause.phrases[0]
    return phrase if phrase.words and phrase.words[-1] in nouns else None


def _way(clause: Clause) -> Clause:
    """ "…하는 방법", "… 신청 방법" as "어떻게 …하나요"."""
    phrase = _asked_noun(clause, _WAY)
    if phrase is None:
        return clause
    how = Phrase(("어떻게",), "adverb")
    if phrase.modifier and phrase.modifier.ending == "는" and len(phrase.words) == 1:
        return replace(phrase.modifier, phrases=(*phrase.modifier.phrases, how), ending=ASK)
    if phrase.modifier or len(phrase.words) < 2 or phrase.words[-1] != "방법":
        return clause
    *rest, done, _ = phrase.words
    phrases = (Phrase(tuple(rest)), how) if rest else (how,)
    return Clause(phrases, (done + "하",), ASK)


def _reason(clause: Clause) -> Clause:
    """ "…하는 이유" as "왜 …하나요"."""
    phrase = _asked_noun(clause, _REASON)
    if phrase is None or phrase.modifier is None or len(phrase.words) != 1:
        return clause
    said = phrase.modifier
    if said.ending != "는" and not (said.descriptive and said.ending == "ᆫ"):
        return clause
    return replace(said, phrases=(*said.phrases, Phrase(("왜",), "adverb")), ending=ASK)


def _is_how(clause: Clause) -> bool:
    """Whether a clause is nothing but "어떻게 (해야) 하나요"."""
    only = len(clause.phrases) == 1 and clause.phrases[0].words == ("어떻게",)
    return only and clause.ending == ASK and clause.verb in (("하",), ("하", "MUST"), ("하", "ENOUGH"))


def _how(clause: Clause) -> Clause:
    """Of "어떻게 해야, 할 수, 하면 되나요" the one "어떻게 하나요", where nobody is said to do it."""
    doer = any(phrase.role in (SUBJECT, TOPIC) and not {*phrase.words[-1:]} <= THINGS for phrase in clause.phrases)
    if not doer and clause.verb[-1:] and clause.verb[-1] in ("MUST", "CAN", "ENOUGH") and len(clause.verb) == 2:
        return replace(clause, verb=clause.verb[:1])
    return clause


def _possible(clause: Clause) -> Clause:
    """ "수영이 가능한가요" as "수영할 수 있나요"."""
    if clause.verb != ("가능하",) or clause.ending != ASK or not clause.phrases:
        return clause
    *rest, last = clause.phrases
    if last.role not in (SUBJECT, "") or last.modifier or not last.words:
        return clause
    others = (Phrase(last.words[:-1]),) if last.words[:-1] else ()
    return Clause((*rest, *others), (last.words[-1] + "하", "CAN"), ASK)


def _where(clause: Clause) -> Clause:
    """ "… 위치가 어디인가요" as "…가 어디에 있나요"."""
    is_place = len(clause.phrases) == 1 and clause.phrases[0].words[-1:] == ("위치",) and clause.ending == ASK
    if not is_place or clause.verb not in (("어디", "이"), _ASKED) or len(clause.phrases[0].words) < 2:
        return clause
    owner = Phrase(clause.phrases[0].words[:-1], SUBJECT, clause.phrases[0].modifier)
    return Clause((owner, Phrase(("어디",), "에")), ("있",), ASK)
