"""From what readers made of answers to rows that a model is tuned on: pairs, labels and examples.

An answer teaches under the very prompt it was given to, with the numbers that prompt gave its passages. What is
left out is counted by reason, see `REASONS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from korean_llm import console
from korean_llm.answering.feedback import Remembered
from korean_llm.answering.feedback_numbers import as_prompted
from korean_llm.artifact import digest
from korean_llm.corpus.personal import mask
from korean_llm.hangul import hangul_ratio
from korean_llm.training.rows import Message, RowError, conversation

Row = dict[str, Any]

REASONS = {
    "no_prompt": "no model was asked: an extract, or nothing was found",
    "cut_short": "the reader stopped it",
    "kept": "given from the cache, to another question's prompt",
    "unfit_prompt": "the conversation does not alternate between user and assistant",
    "lost_citation": "a mark whose text does not stand in the prompt",
    "low_quality": "to be learned from, but too short, too long, hardly Korean, damaged, or the prompt repeated",
    "contradictory": "liked and disliked, or better and worse, under the same prompt",
    "duplicates": "the same row again",
    "other_prompt": "a second try or another variant that was given another prompt",
}
"""Reason → what was left out for it."""

MIN_CHARS, MAX_CHARS = 10, 8_000
MIN_HANGUL = 0.3
_DAMAGED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffd]")


@dataclass
class Rows:
    """Rows by corpus, and what was counted on the way: answers or rows left out by reason, personal data by label."""

    preferences: list[Row] = field(default_factory=list)
    labels: list[Row] = field(default_factory=list)
    instructions: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Said:
    """An answer as it can be learned from, masked. key: the same for the same prompt."""

    of: Remembered
    key: str
    prompt: list[Message]
    text: str
    edited: str

    @property
    def made_by(self) -> Row:
        """What made it: fingerprints of model, adapter and index, and its own id."""
        trace = self.of.answer.trace
        return {"id": self.of.id, "model": trace.model, "adapter": trace.adapter, "index": trace.index}


@dataclass(frozen=True)
class _Verdict:
    said: _Said
    text: str
    wanted: bool
    signal: str

    @property
    def place(self) -> tuple[str, str]:
        return self.said.key, self.text


@dataclass(frozen=True)
class _Better:
    """One answer preferred to another under the same prompt."""

    chosen: _Verdict
    rejected: _Said
    signal: str

    @property
    def texts(self) -> tuple[str, str, str]:
        return (*self.chosen.place, self.rejected.text)


def rows_of(judged: list[Remembered]) -> Rows:
    """All rows that the answers and what was made of them give; order and ids follow from the answers alone."""
    rows = Rows()
    said = [one for one in (_said(item, rows) for item in console.progress(judged, "masking personal data")) if one]
    verdicts = [verdict for one in said for verdict in _verdicts(one)]
    places = {wanted: {v.place for v in verdicts if v.wanted == wanted} for wanted in (True, False)}
    both = places[True] & places[False]
    rows.dropped["contradictory"] += sum(verdict.place in both for verdict in verdicts)
    clear = [verdict for verdict in verdicts if verdict.place not in both and _fit(verdict, rows.dropped)]
    for verdict in _once(clear, lambda v: v.place, rows.dropped):
        rows.labels.append(_label(verdict))
        if verdict.wanted:
            rows.instructions.append(_example(verdict))
    rows.preferences += _pairs(list(_better(said, clear, rows.dropped)), rows.dropped)
    rows.dropped += Counter()  # drops reasons that never applied
    return rows


def _said(item: Remembered, rows: Rows) -> _Said | None:
    answer = item.answer
    if reason := _unusable(item):
        rows.dropped[reason] += 1
        return None
    try:
        prompt = conversation(list(answer.trace.prompt), "prompt", "user")
        texts = [as_prompted(text, answer.citations, prompt[-1]["content"]) for text in (answer.text, item.edited)]
    except RowError:
        rows.dropped["unfit_prompt"] += 1
        return None
    except LookupError:
        rows.dropped["lost_citation"] += 1
        return None

    def masked(text: str) -> str:
        text, found = mask(text)
        rows.masked += found
        return text.strip()

    prompt = [{"role": message["role"], "content": masked(message["content"])} for message in prompt]
    return _Said(item, digest(prompt), prompt, masked(texts[0]), masked(texts[1]))


def _unusable(item: Remembered) -> str:
    answer = item.answer
    if not answer.trace.prompt:
        return "no_prompt"
    if answer.kept_from and answer.kept_from != answer.question:
        return "kept"
    return "cut_short" if answer.stopped and not item.edited else ""


def _verdicts(said: _Said) -> Iterator[_Verdict]:
    """What the reader said of the answer; an edit says more than a vote, which may be about either text."""
    if said.edited and said.edited != said.text:
        yield _Verdict(said, said.edited, True, "edit")
        yield _Verdict(said, said.text, False, "edit")
    elif said.of.vote:
        yield _Verdict(said, said.text, said.of.vote == "up", "vote")


def _fit(verdict: _Verdict, dropped: Counter[str]) -> bool:
    """Whether the text may be learned from: what is to be imitated must be good, what is not must be something."""
    text = verdict.text
    fit = bool(text) and not _DAMAGED.search(text) and len(text) <= MAX_CHARS
    if verdict.wanted:
        asked = {message["content"] for message in verdict.said.prompt}
        fit = fit and len(text) >= MIN_CHARS and hangul_ratio(text) >= MIN_HANGUL and text not in asked
    dropped["low_quality"] += not fit
    return fit


def _better(said: list[_Said], clear: list[_Verdict], dropped: Counter[str]) -> Iterator[_Better]:
    """Every answer that is known to be better than another."""
    liked = {verdict.said.of.id: verdict for verdict in clear if verdict.wanted}
    yield from _edits(liked, clear)
    yield from _votes(clear)
    for old, new, signal in [*_second_tries(said), *_side_by_side(said)]:
        if new.of.id not in liked or old.of.vote == "up" or old.edited:
            continue
        if old.key != new.key:
            dropped["other_prompt"] += 1
        elif _fit(_Verdict(old, old.text, False, signal), dropped):
            yield _Better(liked[new.of.id], old, signal)


def _edits(liked: dict[str, _Verdict], clear: list[_Verdict]) -> Iterator[_Better]:
    for verdict in clear:
        if verdict.signal == "edit" and not verdict.wanted and (chosen := liked.get(verdict.said.of.id)):
            yield _Better(chosen, verdict.said, "edit")


def _votes(clear: list[_Verdict]) -> Iterator[_Better]:
    """Liked against disliked answers to one prompt: each stands in a pair at least, and no more pairs than needed."""
    by_prompt: dict[str, dict[bool, list[_Verdict]]] = {}
    for verdict in clear:
        if verdict.signal == "vote":
            by_prompt.setdefault(verdict.said.key, {True: [], False: []})[verdict.wanted].append(verdict)
    for votes in by_prompt.values():
        ups, downs = ({v.text: v for v in reversed(votes[wanted])} for wanted in (True, False))
        good, bad = list(reversed(ups.values())), list(reversed(downs.values()))
        for number in range(max(len(good), len(bad)) if good and bad else 0):
            yield _Better(good[number % len(good)], bad[number % len(bad)].said, "vote")


def _second_tries(said: list[_Said]) -> Iterator[tuple[_Said, _Said, str]]:
    """(old, new) where the reader asked again."""
    known = {one.of.id: one for one in said}
    for old in said:
        if new := known.get(old.of.regenerated):
            yield old, new, "regenerate"


def _side_by_side(said: list[_Said]) -> Iterator[tuple[_Said, _Said, str]]:
    """(other, liked) for answers to one question that stood side by side."""
    groups: dict[tuple[str, str], list[_Said]] = {}
    for one in said:
        if one.of.variant:
            groups.setdefault((one.of.session, one.of.answer.question), []).append(one)
    for group in groups.values():
        for new in group:
            if new.of.vote == "up":
                yield from ((old, new, "choice") for old in group if old.of.variant != new.of.variant)


def _pairs(better: list[_Better], dropped: Counter[str]) -> Iterator[Row]:
    """A row for each, but not where the contrary, the same, or no difference is there."""
    known = {one.texts for one in better}
    for one in _once(better, lambda b: b.texts, dropped):
        key, chosen, rejected = one.texts
        if (key, rejected, chosen) in known:
            dropped["contradictory"] += 1
        else:
            yield _pair(one)


def _once(items: Iterable[Any], place: Any, dropped: Counter[str]) -> Iterator[Any]:
    """The first item of each place."""
    seen = set()
    for item in items:
        if place(item) in seen:
            dropped["duplicates"] += 1
        else:
            seen.add(place(item))
            yield item


def _pair(one: _Better) -> Row:
    row = {"prompt": one.chosen.said.prompt, "chosen": one.chosen.text, "rejected": one.rejected.text}
    made = {"chosen_from": one.chosen.said.made_by, "rejected_from": one.rejected.made_by}
    return {"id": _id(row), **row, "signal": one.signal, **made}


def _label(verdict: _Verdict) -> Row:
    row = {"prompt": verdict.said.prompt, "completion": verdict.text, "label": verdict.wanted}
    return {"id": _id(row), **row, "signal": verdict.signal, "made_from": verdict.said.made_by}


def _example(verdict: _Verdict) -> Row:
    row = {"messages": [*verdict.said.prompt, {"role": "assistant", "content": verdict.text}]}
    return {"id": _id(row), **row, "signal": verdict.signal, "made_from": verdict.said.made_by}


def _id(row: Row) -> str:
    return f"feedback-{digest(row)[:16]}"
