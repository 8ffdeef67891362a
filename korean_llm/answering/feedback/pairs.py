"""Pairs of a better and a worse answer to one prompt: from edits, votes, second tries, and choices side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from korean_llm.answering.feedback.verdicts import Said, Verdict, fit


@dataclass(frozen=True)
class Better:
    """One answer preferred to another under the same prompt; signal: edit, vote, regenerate or choice."""

    chosen: Verdict
    rejected: Verdict
    signal: str

    @property
    def texts(self) -> tuple[str, str, str]:
        """The prompt's key, the chosen and the rejected text."""
        return (*self.chosen.place, self.rejected.text)


def better(all_said: list[Said], clear: list[Verdict], dropped: Counter[str]) -> Iterator[Better]:
    """Every answer that is known to be better than another.

    clear: verdicts that nothing contradicts and that are fit to be learned from. Counted in dropped: second tries
    and variants that were given another prompt.
    """
    liked = {verdict.said.of.id: verdict for verdict in clear if verdict.wanted}
    yield from _votes([verdict for verdict in clear if verdict.signal == "vote"])
    for old, new, signal in [*_edits(all_said), *_second_tries(all_said), *_side_by_side(all_said)]:
        worse = Verdict(old, old.text, False, signal)
        if new.of.id not in liked or not fit(worse):
            continue
        if old.key != new.key:
            dropped["other_prompt"] += 1
        elif liked[new.of.id].text != old.text:
            yield Better(liked[new.of.id], worse, signal)


def _votes(votes: list[Verdict]) -> Iterator[Better]:
    """Liked against disliked answers to one prompt: each stands in a pair at least, and no more pairs than needed."""
    by_prompt: dict[str, dict[bool, dict[str, Verdict]]] = {}
    for vote in votes:
        by_prompt.setdefault(vote.said.key, {True: {}, False: {}})[vote.wanted].setdefault(vote.text, vote)
    for both in by_prompt.values():
        good, bad = list(both[True].values()), list(both[False].values())
        for number in range(max(len(good), len(bad)) if good and bad else 0):
            yield Better(good[number % len(good)], bad[number % len(bad)], "vote")


def _edits(all_said: list[Said]) -> Iterator[tuple[Said, Said, str]]:
    """(as given, as edited, signal)."""
    return ((one, one, "edit") for one in all_said if one.edited)


def _second_tries(all_said: list[Said]) -> Iterator[tuple[Said, Said, str]]:
    """(old, new, signal) where the reader asked again and had not liked the old one."""
    known = {one.of.id: one for one in all_said}
    for old in all_said:
        new = known.get(old.of.regenerated)
        if new and old.of.vote != "up" and not old.edited:
            yield old, new, "regenerate"


def _side_by_side(all_said: list[Said]) -> Iterator[tuple[Said, Said, str]]:
    """(other, liked, signal) where answers to one question stood side by side and one of them was liked."""
    groups: dict[tuple[str, str], list[Said]] = {}
    for one in all_said:
        if one.of.variant:
            groups.setdefault((one.of.session, one.of.answer.question), []).append(one)
    for group in groups.values():
        others = [one for one in group if one.of.vote != "up" and not one.edited]
        for new in (one for one in group if one.of.vote == "up"):
            yield from ((old, new, "choice") for old in others if old.of.variant != new.of.variant)
