"""Follow-up questions completed by rules from the question before: "그럼 일요일은요?" → "버들도서관은 일요일에 …?".

A question is completed where it points back (그 사람, 거기, 그건), only names something ("일요일은요?"), has no noun of
its own ("왜요?"), or speaks of an aspect alone ("수수료는 얼마예요?"). One that names its own subject is left as it is.
"""

from __future__ import annotations

import re

from korean_llm.answering.answer import Turn
from korean_llm.answering.rewriting.phrases import Phrase, has_predicate, is_aspect, phrases, time_of, with_particle

_CONNECTOR = re.compile(r"(?:(?:그럼|그러면|그렇다면|그리고|그런데|근데|또는|또|또한|혹시|아니면|네|아|음)[,.]?\s+)+")
_PARTICLES = "은|는|이|가|을|를|과|와|의|도|만|에|에서|에는|에서는|에도|으로|로|에게|한테|까지|부터"
_END = f"(?P<particle>{_PARTICLES})?(?=[\\s?.!,]|$)"
_BEGIN = r"(?<!\S)"
_PERSON = re.compile(f"{_BEGIN}(?:[그이저] ?사람|[그이저] ?분|그녀|그이|그(?=[는가의를도]|에게)){_END}")
_PLACE = re.compile(f"{_BEGIN}(?:거기|그 ?곳|여기|이 ?곳|저기){_END}")
_THING = re.compile(f"{_BEGIN}(?:그것|그거|이것|이거){_END}")
_SHORT = re.compile(f"{_BEGIN}(?P<word>그|이|거)(?P<end>건|게|걸|긴|길)(?=[\\s?.!,]|$)")
_SHORT_PARTICLES = {"건": "은", "게": "이", "걸": "을", "긴": "은", "길": "을"}
_NAMED = re.compile(f"{_BEGIN}(?:[그이]|해당) (?P<noun>[가-힣]+?){_END}")
_BACK = re.compile(f"{_BEGIN}(?:그때|그렇게|그러려면|그래도|이럴 때|그럴 때|그 ?경우|그 ?후|그 ?전|그 ?다음)")
_SUBJECTS = ("은", "는", "이", "가", "을", "를")


def completed(question: str, before: str, turn: Turn) -> str:
    """The question completed by the one before it, or "" where it stands by itself.

    before: the earlier question, itself completed. turn: the same as it was asked, with its answer.
    """
    core = _CONNECTOR.sub("", question, count=1) if _CONNECTOR.match(question) else question
    if _BACK.search(core):
        return f"{before} {core}"
    if pointed := _without_pointing(core, before, turn):
        return pointed
    named = phrases(core)
    if any(phrase.kind in ("name", "thing") and not phrase.adverbial for phrase in named) and has_predicate(core):
        return ""
    if len(named) == 1 and not has_predicate(core):
        return _only_named(core, named[0], before)
    if not any(phrase.kind in ("aspect", "role", "time") and not phrase.adverbial for phrase in named):
        return f"{before} {core}"
    subject = subject_of(before)
    if not subject:
        return f"{before} {core}"
    return f"{subject} {core}" if named[0].kind == "aspect" else f"{with_particle(subject, '은')} {core}"


def may_lean(question: str) -> bool:
    """Whether a question that names a subject may still lean on an earlier one: it begins with 그럼, 그러면, 또 …"""
    return _CONNECTOR.match(question) is not None


def subject_of(question: str) -> str:
    """What a question is about: its phrases up to the first that is marked as subject, topic or object."""
    words: list[str] = []
    for phrase in phrases(question):
        if phrase.kind in ("time", "role") or phrase.adverbial:
            continue
        own = list(phrase.words)
        while own and is_aspect(own[-1][0]):
            own.pop()
        words += [word for word, _ in own]
        if own and phrase.particle in _SUBJECTS:
            break
    return " ".join(words).removesuffix("의")


def _only_named(core: str, phrase: Phrase, before: str) -> str:
    """ "하늘도서관은요?": put in the place of its like in the question before, else beside it."""
    if phrase.kind == "aspect":
        subject = subject_of(before)
        return f"{subject} {core}" if subject else f"{before} {core}"
    for other in phrases(before):
        for word, tag in other.words:
            bare = word.removesuffix("의")
            if bare != phrase.text and _alike(phrase, bare, tag):
                return _swapped(before, bare, phrase.text)
    return f"{before} {core}"


def _alike(phrase: Phrase, word: str, tag: str) -> bool:
    """Whether a word names the same kind of thing: a weekday for a weekday, a name for a name, 고추장 for 된장."""
    time = time_of(phrase.text)
    if time or time_of(word):
        return time == time_of(word)
    if phrase.kind == "role" or is_aspect(word):
        return phrase.kind == Phrase(((word, tag),), "").kind
    both_names = tag == "NNP" and phrase.words[-1][1] == "NNP"
    return both_names or (len(word) > 1 and word[-1] == phrase.head[-1])


def _swapped(question: str, old: str, new: str) -> str:
    """The question with one word for another, its particle fitted."""
    at = question.index(old)
    match = re.match(_END, question[at + len(old) :])
    particle = (match["particle"] or "") if match else ""
    rest = question[at + len(old) + len(particle) :]
    return question[:at] + with_particle(new, particle) + rest


def _without_pointing(core: str, before: str, turn: Turn) -> str:
    """The question with what it points to in the place of 그 사람, 거기, 그건, 그 산; "" where it points to nothing."""
    subject = subject_of(before)
    for pattern, asks in ((_PERSON, r"누구|누가"), (_PLACE, r"어디|어느 곳"), (_THING, r"$^")):
        if match := pattern.search(core):
            word = _answered(turn) if re.search(asks, turn.question) else subject
            return _put(core, match, word or subject, match["particle"] or "", before)
    if match := _SHORT.search(core):
        return _put(core, match, subject, _SHORT_PARTICLES[match["end"]], before)
    if match := _NAMED.search(core):
        return _put(core, match, _called(match["noun"], subject, turn), match["particle"] or "", before)
    return ""


def _put(core: str, match: re.Match[str], word: str, particle: str, before: str) -> str:
    if not word:
        return f"{before} {core}"
    return core[: match.start()] + with_particle(word, particle) + core[match.end() :]


def _answered(turn: Turn) -> str:
    """What an answer to 누가 or 어디 names first."""
    return next((phrase.text for phrase in phrases(turn.answer) if phrase.kind in ("name", "thing")), "")


def _called(noun: str, subject: str, turn: Turn) -> str:
    """ "그 산": what the answer or the question calls so, else the subject with the noun behind it."""
    for text in (turn.answer, turn.question):
        for phrase in phrases(text):
            if phrase.head.endswith(noun) and phrase.text != noun:
                return phrase.text
    return f"{subject} {noun}" if subject else ""
