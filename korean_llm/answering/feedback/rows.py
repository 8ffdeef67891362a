"""From what readers made of answers to rows that a model is tuned on: pairs, labels and examples.

An answer teaches under the very prompt it was given to, with the numbers that prompt gave its passages. What is
left out is counted by reason, see `REASONS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from korean_llm import console
from korean_llm.answering.feedback.pairs import Better, better
from korean_llm.answering.feedback.store import Remembered
from korean_llm.answering.feedback.verdicts import Verdict, fit, said, verdicts
from korean_llm.artifact import digest

Row = dict[str, Any]
T = TypeVar("T")

REASONS = {
    "no_prompt": "answers that no model was asked for: extracts, or nothing was found",
    "cut_short": "answers that the reader stopped",
    "other_question": "answers from the cache that were first given to another question",
    "unfit_prompt": "answers in a conversation that does not alternate between user and assistant",
    "lost_citation": "answers that cite what does not stand in their prompt",
    "low_quality": "answers too long or damaged; liked ones that are short, hardly Korean, or their prompt again",
    "contradictory": "verdicts with another one against them on the same answer to the same prompt",
    "duplicates": "verdicts and pairs that are there already",
    "other_prompt": "second tries and variants that were given another prompt",
}
"""Reason → what was left out for it."""


@dataclass
class Rows:
    """Rows by corpus, and counts: what was left out by reason, personal data that was masked by label."""

    preferences: list[Row] = field(default_factory=list)
    labels: list[Row] = field(default_factory=list)
    instructions: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)


def rows_of(judged: list[Remembered]) -> Rows:
    """All rows that the answers and what was made of them give; order and ids follow from the answers alone."""
    rows, dropped = Rows(), Counter[str]()
    read = (said(item, dropped, rows.masked) for item in console.progress(judged, "feedback: masking personal data"))
    all_said = [one for one in read if one]
    clear = list(_clear([verdict for one in all_said for verdict in verdicts(one)], dropped))
    for verdict in _once(clear, lambda verdict: verdict.place, dropped):
        rows.labels.append(_label(verdict))
        if verdict.wanted:
            rows.instructions.append(_example(verdict))
    rows.preferences += _pairs(list(better(all_said, clear, dropped)), dropped)
    rows.dropped += dropped  # leaves out reasons that did not occur
    return rows


def _clear(found: list[Verdict], dropped: Counter[str]) -> Iterator[Verdict]:
    """Verdicts to learn from. That someone edited an answer takes nothing from another's liking it as it was."""
    liked = {verdict.place for verdict in found if verdict.wanted}
    disliked = {verdict.place for verdict in found if not verdict.wanted and verdict.signal == "vote"}
    for verdict in found:
        against = disliked if verdict.wanted else liked
        if verdict.place in against:
            dropped["contradictory"] += 1
        elif fit(verdict):
            yield verdict
        else:
            dropped["low_quality"] += 1


def _pairs(found: list[Better], dropped: Counter[str]) -> Iterator[Row]:
    """A row for each pair once, and none where the contrary is there too."""
    known = {one.texts for one in found}
    for one in _once(found, lambda pair: pair.texts, dropped):
        key, chosen, rejected = one.texts
        if (key, rejected, chosen) in known:
            dropped["contradictory"] += 1
        else:
            yield _pair(one)


def _once(items: Iterable[T], place: Callable[[T], Any], dropped: Counter[str]) -> Iterator[T]:
    """The first item of each place."""
    seen = set()
    for item in items:
        if place(item) in seen:
            dropped["duplicates"] += 1
        else:
            seen.add(place(item))
            yield item


def _pair(one: Better) -> Row:
    row = {"prompt": one.chosen.said.prompt, "chosen": one.chosen.text, "rejected": one.rejected.text}
    made = {"chosen_from": one.chosen.said.made_by, "rejected_from": one.rejected.said.made_by}
    return {"id": _id(row), **row, "signal": one.signal, **made}


def _label(verdict: Verdict) -> Row:
    row = {"prompt": verdict.said.prompt, "completion": verdict.text, "label": verdict.wanted}
    return {"id": _id(row), **row, "signal": verdict.signal, "made_from": verdict.said.made_by}


def _example(verdict: Verdict) -> Row:
    row = {"messages": [*verdict.said.prompt, {"role": "assistant", "content": verdict.text}]}
    return {"id": _id(row), **row, "signal": verdict.signal, "made_from": verdict.said.made_by}


def _id(row: Row) -> str:
    return f"feedback-{digest(row)[:16]}"
