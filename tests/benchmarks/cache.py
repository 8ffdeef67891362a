"""The answer cache on a finished run: what it serves of the written question pairs, and what a hit costs.

    python -m tests.benchmarks.cache runs/quickstart 40          # seconds of a miss and of a hit, over 40 questions
    python -m tests.benchmarks.cache runs/quickstart --encoder   # the encoder proposes pairs, the gate decides

Questions that the run answers are asked in turn: anew, by their text (tier 1), and in another wording (tier 2).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from korean_llm.answering.answer import Answerer, Request
from korean_llm.answering.cache.answerer import CachedAnswerer, KeptAnswers
from korean_llm.answering.cache.frames import frame, prepared
from korean_llm.answering.cache.gate import same_question
from korean_llm.answering.extractive import ExtractiveAnswerer
from korean_llm.answering.library import Library
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from tests.answering.question_pairs import read_pairs

ENDINGS = {"나요?": "는지 알려 주세요.", "인가요?": "예요?", "이에요?": "인가요?", "예요?": "인가요?", "요?": "ㅂ니까?"}


def seconds(answerer: Answerer, asked: Request | str) -> tuple[float, bool]:
    """How long an answer takes, and whether it was a kept one."""
    began = time.perf_counter()
    answer = answerer.answer(asked)
    return time.perf_counter() - began, bool(answer.kept_from)


def another_wording(question: str) -> str | None:
    """The question with an ending of another politeness, where the gate takes it for the same."""
    for ending, other in ENDINGS.items():
        if question.endswith(ending):
            changed = question.removesuffix(ending) + other
            return (
                changed if prepared(changed) != prepared(question) and same_question(question, changed).same else None
            )
    return None


def costs(index: Index, kept: KeptAnswers, count: int) -> None:
    """Print median seconds of a miss, of a hit by text, and of one by words, frames not known beforehand."""
    questions = [row["question"] for row in json.loads((index.folder / "questions.json").read_text(encoding="utf-8"))]
    questions = [question for question in questions if another_wording(question)][:count]
    cached = CachedAnswerer(ExtractiveAnswerer(index, ""), kept, index, "benchmark")
    misses, exact, words = [], [], []
    cached.answer(questions[0])
    for question in questions:
        other = another_wording(question)
        forget(index)
        misses.append(seconds(cached, Request(question, fresh=True))[0])
        for asked, times in ((question, exact), (other, words)):
            forget(index)
            taken, hit = seconds(cached, asked) if asked else (0.0, False)
            if hit:
                times.append(taken)
    miss = median(misses)
    print(f"{len(questions)} questions: a miss {1000 * miss:.1f} ms")
    for name, times in (("the same text", exact), ("other words", words)):
        hit = median(times)
        print(f"a hit by {name} ({len(times)}): {1000 * hit:.2f} ms, 1/{miss / hit:.0f} of a miss")


def forget(index: Index) -> None:
    """Nothing is known of any question, as for one that is asked for the first time in a process."""
    frame.cache_clear()
    if index.dense is not None:
        index.dense.encoder._queries.clear()


def pairs(index: Index) -> None:
    """Print how many of the pairs the gate lets through, and how many the encoder alone would have served."""
    for name in ("adversarial_pairs.txt", "adversarial_late.txt", "paraphrase_pairs.txt"):
        known = read_pairs(name)
        served, near = 0, 0
        for a, b in known:
            same = same_question(a, b).same
            served += same
            if index.dense is not None:
                near += float(index.dense.encoder.query(a) @ index.dense.encoder.query(b)) >= 0.85
        print(f"{name}: {len(known)} pairs, the gate lets {served} through, the encoder proposes {near}")


def main() -> None:
    """Measure on a run folder."""
    index = Library(Path(sys.argv[1]), Machine("cpu", 1)).index
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptAnswers(Path(folder) / "kept.sqlite")
        if "--encoder" in sys.argv:
            pairs(index)
        else:
            costs(index, kept, int(sys.argv[2]))


if __name__ == "__main__":
    main()
