"""Whether a clause of Korean says yes or no: 안, 못, -지 않다, -지 말다, 없다, 아니다, by Kiwi's morphemes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from korean_llm.kiwi import Morpheme, analyse
from korean_llm.retrieval.analyzer import CONTENT, LIGHT_VERBS

_ADVERBS = frozenset({"안", "못", "없이"})
_AUXILIARIES = frozenset({"않", "못하", "말"})
_ADJECTIVES = frozenset({"없", "못하"})
_KEY = re.compile(r"요일$|오전|오후|새벽|\d")
_KEY_WEIGHT = 4
_NOUNS = frozenset({"불가", "금지", "불가능", "미포함"})
_JOINING = frozenset(
    """
    고 며 으며 지만 는데 은데 ᆫ데 므로 으므로 니 으니 니까 으니까 면 으면 거나 자 느라 려고 으려고 나 으나 더니
    아도 어도 여도 더라도
    """.split()  # noqa: SIM905
)
"""Endings after which another clause begins. -지 and -게, which lead to an auxiliary, are none."""


class Clause(NamedTuple):
    """Content morphemes of a clause, and whether it is denied."""

    terms: frozenset[str]
    denied: bool


def clauses(text: str) -> list[Clause]:
    """The clauses of a text that hold content, in order; "-면 안 되다" belongs to the clause before it."""
    found: list[Clause] = []
    for part in _parts(next(iter(analyse([text])))):
        clause = _clause(part)
        if clause.terms:
            found.append(clause)
        elif found:
            found[-1] = Clause(found[-1].terms, found[-1].denied != clause.denied)
    return found


def agree(claim: str, source: str) -> bool:
    """Whether each clause of a claim is denied as its nearest clause of the source is.

    Nearest is the one that shares most content morphemes, days and numbers before all; where several share as many,
    one of them has to agree.
    """
    known = clauses(source)
    return all(_agrees(clause, known) for clause in clauses(claim))


def _agrees(clause: Clause, known: Sequence[Clause]) -> bool:
    shared = [sum(_KEY_WEIGHT if _KEY.search(term) else 1 for term in clause.terms & other.terms) for other in known]
    best = max(shared, default=0)
    if best == 0:
        return not clause.denied or any(other.denied for other in known)
    return any(other.denied == clause.denied for other, count in zip(known, shared, strict=True) if count == best)


def _parts(morphemes: list[Morpheme]) -> Iterator[list[Morpheme]]:
    part: list[Morpheme] = []
    for at, morpheme in enumerate(morphemes):
        part.append(morpheme)
        following = morphemes[at + 1].tag if at + 1 < len(morphemes) else ""
        joins = morpheme.tag == "EC" and morpheme.form in _JOINING and not following.startswith("VX")
        if joins or morpheme.tag in ("SP", "SF"):
            yield part
            part = []
    if part:
        yield part


def _clause(part: list[Morpheme]) -> Clause:
    terms = frozenset(form for form, tag, _ in part if tag in CONTENT and form not in LIGHT_VERBS)
    return Clause(terms, sum(map(_denies, part)) % 2 == 1)


def _denies(morpheme: Morpheme) -> bool:
    form, tag, _ = morpheme
    return (
        (tag == "MAG" and form in _ADVERBS)
        or (tag == "VX" and form in _AUXILIARIES)
        or (tag in ("VA", "VX", "VV") and form in _ADJECTIVES)
        or tag == "VCN"
        or (tag == "XPN" and form == "불")
        or (tag == "NNG" and form in _NOUNS)
    )
