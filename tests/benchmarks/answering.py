"""Answers over the quickstart's index: abstention, citations, the right passage first, and time to answer.

    python tests/benchmarks/answering.py RUN_OR_INDEX

Questions are those of corpora/answers-ko and corpora/questions-ko; abstention is measured on the half of them, by the
hash of their text, that no constant was fitted on. Generative answers are those of a writer that states what the
passages say, what they do not say, and numbers of passages that were not given: a language model good enough to follow
instructions half of the time and to make things up the other half, so that what it cites is due to us. Prints a table;
a bar that is not held is named, and the exit status is 1.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from korean_llm.answering.abstain import is_answered
from korean_llm.answering.answer import Answer
from korean_llm.answering.calibrate import held_out
from korean_llm.answering.evidence import gather
from korean_llm.answering.extractive import ExtractiveAnswerer
from korean_llm.answering.generative import GenerativeAnswerer
from korean_llm.answering.library import open_index
from korean_llm.corpus.card import load_card
from korean_llm.corpus.read import read_rows
from korean_llm.kiwi import sentences
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from korean_llm.retrieval.store import INDEX

SETS = ("answers-ko", "questions-ko")
_SOURCE = re.compile(r"^\[(\d+)\].*\n((?:> .*\n?)+)", re.MULTILINE)


class Writer:
    """Writes sentences of its passages, some with a number or a denial changed, under right and wrong marks."""

    budget = 6_000

    def __init__(self) -> None:
        self._dice = random.Random(17)

    def measure(self, messages: list[Any]) -> int:
        """Characters."""
        return sum(len(message["content"]) for message in messages)

    def generate(self, messages: list[Any], *_: Any, **__: Any) -> Iterator[str]:
        """Three sentences of the passages, each with a mark or two."""
        sources = [(int(number), text.replace("> ", "")) for number, text in _SOURCE.findall(messages[-1]["content"])]
        for _ in range(3):
            number, text = self._dice.choice(sources)
            said = self._changed(self._dice.choice([text[start:end] for start, end in sentences(text)]))
            marks = self._dice.choice([f"[{number}]", f"[{number}][{number + 1}]", f"[{self._dice.randint(5, 99)}]"])
            for at in range(0, len(said), 3):
                yield said[at : at + 3]
            yield f" {marks} "

    def _changed(self, said: str) -> str:
        kind = self._dice.randrange(4)
        if kind == 1:
            return re.sub(r"\d+", lambda match: str(int(match[0]) + 1), said)
        if kind == 2:
            return said.replace("있", "없").replace("한다", "하지 않는다").replace("합니다", "하지 않습니다")
        return " ".join(said.split()[1:]) if kind == 3 else said


def main() -> None:
    """Print the tables; exit with 1 where a bar is not held."""
    folder = Path(sys.argv[1])
    index = (
        Index.open(folder, Machine("cpu", 1)) if (folder / INDEX).is_file() else open_index(folder, Machine("cpu", 1))
    )
    rows = [row for name in SETS for row in read_rows(load_card(name))]
    print(f"{folder}: {index.state.num_passages} passages, {len(rows)} questions, encoder: {index.state.encoder}\n")
    answerable = [row for row in rows if row["evidence"]]
    missed = [*right_passage(index, answerable)]  # first, so that no question has been encoded before it is timed
    missed += [*abstention(index, [row for row in rows if held_out(row["question"])]), *citations(index, answerable)]
    for line in missed:
        print(f"not held: {line}")
    sys.exit(1 if missed else 0)


def abstention(index: Index, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Shares of questions answered and refused on the held-out half, kind by kind; both modes decide alike."""
    kinds: dict[str, list[bool]] = {}
    for row in rows:
        kind = "answerable" if row["evidence"] else row["id"].split("-")[0]
        kinds.setdefault(kind, []).append(is_answered(index, gather(index, row["question"])))
    print("\n| questions of the held-out half | number | answered | refused |\n|---|---|---|---|")
    others = [one for kind, found in kinds.items() if kind != "answerable" for one in found]
    for kind, found in [*kinds.items(), ("all unanswerable", others)]:
        print(f"| {kind} | {len(found)} | {np.mean(found):.1%} | {1 - np.mean(found):.1%} |", flush=True)
    if np.mean(kinds["answerable"]) < 0.9:
        yield f"{np.mean(kinds['answerable']):.1%} of the answerable questions are answered, at least 90 % were to be"
    if np.mean(others) > 0.1:
        yield f"{1 - np.mean(others):.1%} of the unanswerable questions are refused, at least 90 % were to be"


def right_passage(index: Index, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Where the first citation of extractive answers lies, and what they cost."""
    answerer = ExtractiveAnswerer(index, "")
    answerer.answer("문서에는 무엇이 적혀 있나요?")  # numba and Kiwi start with the first question
    seconds, cpu, document, passage, span, answered = [], [], [], [], [], 0
    for row in rows:
        start = process_time()
        answer = answerer.answer(row["question"])
        cpu.append(process_time() - start)
        seconds.append(answer.trace.whole_s)
        answered += answer.found
        document.append(bool(answer.citations) and answer.citations[0].document_id == row["document_id"])
        passage.append(answer.found and _overlaps(index, row, _first_place(answer)))
        span.append(any(_overlaps(index, row, (c.document_id, c.start, c.end)) for c in answer.citations))
    print(f"| extractive answers to {len(rows)} answerable questions | share |\n|---|---|")
    print(f"| answered | {answered / len(rows):.1%} |")
    print(f"| first citation in the right document | {np.mean(document):.1%} |")
    print(f"| passage cited first overlaps the evidence | {np.mean(passage):.1%} |")
    print(f"| a cited sentence overlaps the evidence | {np.mean(span):.1%} |")
    print(f"| CPU seconds, median / p95 | {np.median(cpu):.2f} / {np.quantile(cpu, 0.95):.2f} |")
    print(f"| seconds, median / p95 | {np.median(seconds):.2f} / {np.quantile(seconds, 0.95):.2f} |", flush=True)
    if np.mean(passage) < 0.9:
        yield f"the right passage is cited first for {np.mean(passage):.1%} of the questions, at least 90 % were to be"
    if np.quantile(cpu, 0.95) >= 1:
        yield f"an answer takes {np.quantile(cpu, 0.95):.2f} CPU seconds (p95), under 1 were to do"


def _first_place(answer: Answer) -> tuple[str, int, int]:
    """The passage that the first citation stands in."""
    first = answer.citations[0]
    inside = (hit for hit in answer.trace.hits if hit.document_id == first.document_id and hit.start <= first.start)
    hit = next(hit for hit in inside if first.end <= hit.end)
    return hit.document_id, hit.start, hit.end


def _overlaps(index: Index, row: dict[str, Any], place: tuple[str, int, int]) -> bool:
    document = index.document(row["document_id"])
    assert document is not None
    start = document.text.index(row["evidence"])
    return place[0] == row["document_id"] and place[1] < start + len(row["evidence"]) and start < place[2]


def citations(index: Index, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Every citation of both modes is the exact substring, and no number that was not given is one."""
    shown = wrong = 0
    for answerer in (ExtractiveAnswerer(index, ""), GenerativeAnswerer(index, Writer(), "")):
        for row in rows:
            answer = answerer.answer(row["question"])
            for citation in (*answer.citations, *answer.nearest):
                document = index.document(citation.document_id)
                shown += 1
                wrong += document is None or document.text[citation.start : citation.end] != citation.text
            marks = {int(number) for number in re.findall(r"\[(\d+)\]", answer.text)}
            wrong += len(marks - {citation.number for citation in answer.citations})
    print(f"\n{shown} citations shown over {2 * len(rows)} answers, {wrong} do not resolve to their exact text")
    if wrong:
        yield f"{wrong} citations do not resolve"


if __name__ == "__main__":
    main()
