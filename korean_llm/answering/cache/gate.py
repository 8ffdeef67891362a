"""Whether two questions ask the same, so that one's kept answer may be given to the other. In doubt they do not.

Two questions are the same where their frames are, but for what Korean leaves open without changing the question: the
order of phrases whose particles tell them apart, and one particle 은/는 or none in the place of 이/가 or 을/를.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from korean_llm.answering.cache.frames import OBJECT, SUBJECT, TOPIC, WH, Clause, Frame, Phrase, frame
from korean_llm.answering.cache.wordings import INTRANSITIVE, THINGS, WORKING

_BARE = ("", TOPIC)
_COMPOUND_PART = re.compile("[가-힣]{2,}")
_NEGATIONS = frozenset({"NOT", "CANNOT", "MUST NOT", "ISN'T", "아니", "없", "않", "못하", "말", "모르"})
_MODALS = frozenset({"CAN", "MUST", "MAY", "ENOUGH"})


@dataclass(frozen=True)
class Verdict:
    """Whether two questions are the same, and in what they differ if not."""

    same: bool
    reason: str


def same_question(a: str, b: str) -> Verdict:
    """Whether one answer serves both questions; symmetric, and certain where it says so."""
    ours, theirs = frame(a), frame(b)
    if not ours.clauses or not theirs.clauses:
        return Verdict(False, "nothing is asked")
    if ours.words != theirs.words and _letters(ours) != _letters(theirs):
        return Verdict(False, _difference(ours, theirs))
    if len(ours.clauses) != len(theirs.clauses):
        return Verdict(False, "the clauses differ")
    pairs = list(zip(ours.clauses, theirs.clauses, strict=True))
    for at, (one, other) in enumerate(pairs):
        reason = _clauses_differ(one, other, is_last=at == len(pairs) - 1)
        if reason:
            return Verdict(False, reason)
    return Verdict(True, "")


def _letters(frame: Frame) -> list[str]:
    """The letters of all words, which do not depend on how compounds are split."""
    return sorted("".join(frame.words))


def _same_words(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether words are equal, or one side writes compounds of the other as one (비밀 번호; not 집 안)."""
    if a == b:
        return True
    if "".join(a) != "".join(b) or not all(_COMPOUND_PART.fullmatch(word) for word in (*a, *b)):
        return False
    ours, theirs = set(accumulate(map(len, a))), set(accumulate(map(len, b)))
    return ours <= theirs or theirs <= ours  # 서울시 장애인 is not 서울 시장 애인


def _difference(a: Frame, b: Frame) -> str:
    """In what the words of two frames differ, for the reader of a log."""
    differing = set(a.words) ^ set(b.words)
    shown = ", ".join(sorted(differing)[:4])
    kinds = (
        ("the negation", any(word in _NEGATIONS for word in differing)),
        ("the numbers", any(word.startswith("#") for word in differing)),
        ("the question word", any(word in WH for word in differing)),
        ("the modality or tense", any(word in _MODALS or word in ("었", "겠") for word in differing)),
    )
    kind = next((name for name, holds in kinds if holds), "the words")
    return f"{kind} differ: {shown}"


def _clauses_differ(a: Clause, b: Clause, *, is_last: bool) -> str:
    """In what two clauses differ that stand in the same place; "" where they say the same."""
    if a.ending != b.ending:
        return f"the endings differ: {a.ending}, {b.ending}"
    if a.verb != b.verb:
        return f"the verbs differ: {' '.join(a.verb)}, {' '.join(b.verb)}"
    if len(a.phrases) != len(b.phrases):
        return "the phrases differ"
    ours, theirs = a.phrases, b.phrases
    if is_last and _orderless(a) and _orderless(b):
        ours, theirs = _ordered(ours), _ordered(theirs)
    changed = []
    for one, other in zip(ours, theirs, strict=True):
        if not _same_words(one.words, other.words):
            return f"the words stand differently: {' '.join(one.words)}, {' '.join(other.words)}"
        if reason := _modifiers_differ(one, other):
            return reason
        if one.role != other.role:
            changed.append((one, other))
    return _roles_differ(changed, ours, a)


def _modifiers_differ(a: Phrase, b: Phrase) -> str:
    if a.modifier is None or b.modifier is None:
        return "" if a.modifier is b.modifier else "what is said of a noun differs"
    return _clauses_differ(a.modifier, b.modifier, is_last=False)


def _orderless(clause: Clause) -> bool:
    """Whether each phrase can be told from the others wherever it stands (호랑이는 사자가 무섭나요 is in doubt)."""
    roles = [phrase.role for phrase in clause.phrases]
    words = [phrase.words for phrase in clause.phrases]
    if {SUBJECT, TOPIC} <= {*roles} and OBJECT not in roles and _done_to_nothing(clause):
        return False
    return "" not in roles and len(set(roles)) == len(roles) and len(set(words)) == len(words)


def _done_to_nothing(clause: Clause) -> bool:
    """Whether the verb takes no object."""
    stem = clause.verb[0] if clause.verb else ""
    return clause.descriptive or stem in INTRANSITIVE or (len(stem) > 1 and stem.endswith("되"))


def _ordered(phrases: tuple[Phrase, ...]) -> tuple[Phrase, ...]:
    return tuple(sorted(phrases, key=lambda phrase: phrase.words))


def _roles_differ(changed: list[tuple[Phrase, Phrase]], phrases: tuple[Phrase, ...], clause: Clause) -> str:
    """In what role the one phrase with another particle differs; "" where both particles leave its role the same."""
    if not changed:
        return ""
    one, other = changed[0]
    reason = f"the particles differ: {' '.join(one.words)} {one.role or 'none'}, {other.role or 'none'}"
    if len(changed) > 1:
        return reason
    others = [phrase.role for phrase in phrases if phrase.words != one.words]
    roles = {one.role, other.role}
    is_thing = {*one.words[-1:]} <= THINGS
    no_object = _done_to_nothing(clause)
    stem = clause.verb[:1]
    doer = (no_object or OBJECT in others) and (is_thing or stem != ("되",))  # 변호사는 되나요, 변호사가 되나요
    done_to = not no_object and ((is_thing and stem[0] not in WORKING) or SUBJECT in others)
    if roles <= {*_BARE, SUBJECT} and SUBJECT not in others and doer:
        return ""
    if roles <= {*_BARE, OBJECT} and OBJECT not in others and done_to:
        return ""
    return reason
