"""The frame of a Korean question: clauses of phrases with their particles, and what the verb of each says.

A frame keeps every morpheme except what wordings.py knows not to matter, so that two questions with the same frame ask
the same. Word order is kept where it may carry meaning; see gate.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from korean_llm.answering.cache.reading import read
from korean_llm.answering.cache.wordings import OBJECT, SUBJECT, TOPIC, VERB_TAGS
from korean_llm.kiwi import analyse

WH = frozenset({"무엇", "누구", "언제", "어디", "얼마", "며칠", "왜", "어떻게", "얼마나", "몇", "어떤", "어느"})
_QUOTES = frozenset("\"'“”‘’「」『』《》〈〉")
_FREE_ADVERBS = frozenset({"왜", "어떻게"})


@dataclass(frozen=True)
class Phrase:
    """Words that belong together, their particles joined by +, and the clause that says more about them."""

    words: tuple[str, ...]
    role: str = ""
    modifier: Clause | None = None

    def all_words(self) -> Iterator[str]:
        """Its words and those of its modifier."""
        if self.modifier:
            yield from self.modifier.all_words()
        yield from self.words


@dataclass(frozen=True)
class Clause:
    """Phrases, then a verb: its stem, then what follows it (voice, NOT, CANNOT, CAN, MUST, tense …), then its ending.

    descriptive: whether the verb is an adjective or 이다.
    """

    phrases: tuple[Phrase, ...]
    verb: tuple[str, ...]
    ending: str
    descriptive: bool = False

    def all_words(self) -> Iterator[str]:
        """Words of its phrases, and its verb."""
        for phrase in self.phrases:
            yield from phrase.all_words()
        yield from self.verb


@dataclass(frozen=True)
class Frame:
    """The clauses of a question in order."""

    clauses: tuple[Clause, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All words and verbs, sorted: two questions that ask the same have the same ones."""
        return tuple(sorted(word for clause in self.clauses for word in clause.all_words()))


class _Builder:
    """Puts tokens together to phrases and clauses."""

    def __init__(self) -> None:
        self.clauses: list[Clause] = []
        self._phrases: list[Phrase] = []
        self._words: list[str] = []
        self._modifier: Clause | None = None
        self._before: list[str] = []  # adverbs, which say more about whatever comes next
        self._verb: list[str] = []
        self._descriptive = False

    def feed(self, form: str, tag: str, after: str) -> None:
        """One token; after: the tag of the next."""
        if tag in ("EC", "EF", "ETM", "ETN"):
            self._ending(form, tag, after)
        elif tag in VERB_TAGS or tag in ("XSV", "XSA"):
            self._verbal(form, tag)
        elif tag in ("EP", "M"):
            self._verb.append(form)
        elif tag == "J":
            self._particle(form)
        elif tag in ("MAG", "MAJ"):
            self._adverb(form)
        else:
            self._word(form, tag)

    def finish(self) -> Frame:
        """The frame; a question that ends in a noun ends in a clause without a verb."""
        self._close_phrase("")
        if self._phrases or self._verb or self._before or self._modifier:
            self._close_clause("")
        return Frame(tuple(self.clauses))

    def _word(self, form: str, tag: str) -> None:
        if tag == "SS" and form in _QUOTES:
            return
        if tag == "SP" and not self._words:
            return
        if tag == "JKG":  # 도서관의 휴관일 is 도서관 휴관일
            if not self._words:
                self._particle(form)
            return
        starts = tag in ("MM", "#") or form in WH
        if starts and self._words:
            self._close_phrase("")
        self._words += [*self._taken(), form]

    def _taken(self) -> list[str]:
        taken, self._before = [f"~{form}" for form in self._before], []
        return taken

    def _adverb(self, form: str) -> None:
        self._close_phrase("")
        if form in _FREE_ADVERBS:
            self._phrases.append(Phrase((*self._taken(), form), "adverb"))
        else:
            self._before.append(form)

    def _particle(self, form: str) -> None:
        if self._words:
            self._close_phrase(form)
        elif self._phrases and not self._verb:
            last = self._phrases[-1]
            self._phrases[-1] = replace(last, role=f"{last.role}+{form}" if last.role else form)
        else:
            self._before.append(form)

    def _close_phrase(self, role: str) -> None:
        if self._words:
            self._phrases.append(Phrase(tuple(self._words), role, self._modifier))
            self._words, self._modifier = [], None

    def _verbal(self, form: str, tag: str) -> None:
        if tag in ("XSV", "XSA") and self._words:
            form = self._words.pop() + form
            self._descriptive = tag == "XSA"
        elif tag in ("VCP", "VCN") and not self._verb and (self._words or self._phrases):
            self._copula(form)
            return
        if not self._verb:
            self._descriptive = self._descriptive or tag == "VA"
            self._close_phrase("")
            self._negated(form)
        else:
            self._verb.append(form)

    def _negated(self, form: str) -> None:
        """The stem, with 안 and 못 as NOT and CANNOT behind it."""
        said = {"안": "NOT", "못": "CANNOT"}
        adverbs = self._taken()
        no = [said[adverb[1:]] for adverb in adverbs if adverb[1:] in said]
        if form == "하" and no and self._phrases and self._phrases[-1].role in ("", OBJECT):
            *self._phrases, last = self._phrases  # 신청(을) 안 하다 is 안 신청하다
            form = last.words[-1] + form
            if last.words[:-1]:
                self._phrases.append(replace(last, words=last.words[:-1], role=""))
        self._verb += [*(adverb for adverb in adverbs if adverb[1:] not in said), form, *no]

    def _copula(self, form: str) -> None:
        """이다 and 아니다 say something of the phrase before them, which becomes part of the verb."""
        self._close_phrase("")
        last = self._phrases.pop()
        if last.modifier:
            self._phrases.append(Phrase((), "said of", last.modifier))
        particle = () if not last.role else (f"+{last.role}",)
        self._verb += [*self._taken(), *last.words, *particle, form]
        self._descriptive = True

    def _ending(self, form: str, tag: str, after: str) -> None:
        if tag == "EC" and (after == "VX" or (after == "M")):
            self._verb.append(f"-{form}")
            return
        self._close_clause(form)
        if tag in ("ETM", "ETN"):
            self._modifier = self.clauses.pop()
        if tag == "ETN":
            self._words = [form]

    def _close_clause(self, ending: str) -> None:
        self._close_phrase("")
        if self._modifier:  # nothing followed that it could say more about
            self._phrases.append(Phrase((), "", self._modifier))
            self._modifier = None
        clause = Clause(tuple(self._phrases), (*self._verb, *self._taken()), ending, self._descriptive)
        self.clauses.append(clause)
        self._phrases, self._verb, self._descriptive = [], [], False


def prepared(question: str) -> str:
    """NFC, white space folded, marks at the end gone."""
    return " ".join(unicodedata.normalize("NFC", question).split()).rstrip(" .?!~…。？！")


@lru_cache(maxsize=20_000)
def frame(question: str) -> Frame:
    """The frame of a question, its request forms and roundabout wordings made plain."""
    from korean_llm.answering.cache.plain import plain, plain_tokens

    text = prepared(question)
    tokens = plain_tokens(read(next(iter(analyse([text]))), text))
    builder = _Builder()
    for at, (form, tag) in enumerate(tokens):
        builder.feed(form, tag, tokens[at + 1][1] if at + 1 < len(tokens) else "")
    return plain(builder.finish())


__all__ = ["OBJECT", "SUBJECT", "TOPIC", "WH", "Clause", "Frame", "Phrase", "frame", "prepared"]
