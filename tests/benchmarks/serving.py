"""Load on a server: users who each ask at an interval, over real sockets, from a process of their own.

    python -m tests.benchmarks.serving RUN                       50 users, each every 10 s, for 3 minutes, extractive
    python -m tests.benchmarks.serving RUN --users 500 --rate 0   ten times that: a clear "busy", no time-out, no crash
    python -m tests.benchmarks.serving RUN --kill                 kill -9 under load, then a second start

Prints one line of JSON: counts by status, latencies of answers, the server's memory over time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psutil

from korean_llm.answering.feedback import Feedback, feedback_path

BUSY = (429, 503)


@dataclass
class Outcome:
    """One question: HTTP status (0 for no answer: broken off or timed out), seconds, and its feedback.

    at_s: when it was asked, from the beginning of the load. told: the server acknowledged feedback on the answer.
    """

    status: int
    seconds: float
    retry_after: bool = False
    answer_id: str = ""
    told: bool = False
    error: str = ""
    at_s: float = 0.0


def ask_for(
    base: str,
    key: str,
    model: str,
    questions: list[str],
    *,
    users: int,
    every_s: float,
    for_s: float,
    tell: bool = False,
) -> list[Outcome]:
    """Let users ask; each begins at a random moment of the first interval and keeps its own connection."""
    return asyncio.run(_crowd(base, key, model, questions, users, every_s, for_s, tell))


async def _crowd(
    base: str, key: str, model: str, questions: list[str], users: int, every_s: float, for_s: float, tell: bool
) -> list[Outcome]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    dice, outcomes, begin = random.Random(17), list[Outcome](), time.monotonic()
    end = begin + for_s

    async def user(client: httpx.AsyncClient) -> None:
        await asyncio.sleep(dice.uniform(0, every_s))
        while (start := time.monotonic()) < end:
            outcomes.append(await _ask(client, base, model, dice.choice(questions), tell))
            outcomes[-1].at_s = start - begin
            await asyncio.sleep(max(0.0, start + every_s - time.monotonic()))

    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=30.0, trust_env=False) as client:
        await asyncio.gather(*(user(client) for _ in range(users)))
    return outcomes


async def _ask(client: httpx.AsyncClient, base: str, model: str, question: str, tell: bool) -> Outcome:
    start = time.monotonic()
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    try:
        reply = await client.post(f"{base}/chat/completions", json=body)
    except httpx.HTTPError as error:
        return Outcome(0, time.monotonic() - start, error=type(error).__name__)
    outcome = Outcome(reply.status_code, time.monotonic() - start, "retry-after" in reply.headers)
    if reply.status_code == 200 and tell:
        outcome.answer_id = reply.json()["answer_id"]
        try:
            told = await client.post(f"{base}/feedback", json={"answer_id": outcome.answer_id, "kind": "up"})
            outcome.told = told.status_code == 200
        except httpx.HTTPError:
            pass
    return outcome


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts by status, and latency of answers, of those asked after the first minute, and of refusals."""
    answered = [o for o in outcomes if o.status == 200]
    took = {
        "answered": sorted(o.seconds for o in answered),
        "answered_after_60": sorted(o.seconds for o in answered if o.at_s > 60),
        "refused": sorted(o.seconds for o in outcomes if o.status != 200),
    }
    return {
        "asked": len(outcomes),
        "statuses": dict(Counter(str(o.status) for o in outcomes)),
        "errors": dict(Counter(o.error for o in outcomes if o.error)),
        "busy_without_retry_after": sum(o.status in BUSY and not o.retry_after for o in outcomes),
        **{
            f"{name}_{label}_s": round(times[min(len(times) - 1, int(share * len(times)))], 3)
            for name, times in took.items()
            if times
            for label, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
        },
    }


class Watch:
    """Writes down the memory of a process, once a second."""

    def __init__(self, pid: int) -> None:
        self.mib: list[float] = []
        self._process, self._end = psutil.Process(pid), Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(1.0):
            try:
                used = self._process.memory_info().rss
            except psutil.Error:
                return
            if used == 0:  # it was killed
                return
            self.mib.append(used / 2**20)

    def stop(self) -> dict[str, float]:
        """Mean MiB of the second and of the last fifth of the time, and the peak."""
        self._end.set()
        self._thread.join()
        fifth = max(1, len(self.mib) // 5)
        early, late = self.mib[fifth : 2 * fifth] or self.mib[:1], self.mib[-fifth:]
        return {
            "early_mib": round(sum(early) / len(early), 1),
            "late_mib": round(sum(late) / len(late), 1),
            "peak_mib": round(max(self.mib), 1),
        }


def started(run: Path, log: Path, options: list[str]) -> tuple[subprocess.Popen[bytes], str, float]:
    """The server, its base URL, and the seconds until it was ready."""
    start = time.monotonic()
    line = [sys.executable, "-m", "korean_llm.cli", "serve", str(run), "--port", "0", "--engine", "none", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, env={**os.environ, "KOREAN_LLM_KEY": ""})
    while process.poll() is None:
        if found := re.search(r"is served at (http://\S+/v1)", log.read_text(encoding="utf-8")):
            return process, found[1], time.monotonic() - start
        time.sleep(0.1)
    raise SystemExit(log.read_text(encoding="utf-8"))


def main() -> None:
    """Run the load and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rate", default="20", help="the server's limit of requests a second for one address")
    parser.add_argument("--kill", action="store_true")
    given = parser.parse_args()
    rows = json.loads((given.run / "retrieval" / "questions.json").read_text(encoding="utf-8"))
    questions, log = [row["question"] for row in rows], given.run / "serving.log"
    process, base, ready_s = started(given.run, log, ["--rate", given.rate])
    watch = Watch(process.pid)
    if given.kill:
        Thread(target=lambda: (time.sleep(given.seconds / 2), process.kill()), daemon=True).start()
    model = f"{_name(base)}-extractive"
    outcomes = ask_for(
        base, "", model, questions, users=given.users, every_s=given.every, for_s=given.seconds, tell=given.kill
    )
    found = {"ready_s": round(ready_s, 1), "questions": len(questions), **summary(outcomes), **watch.stop()}
    if given.kill:
        found |= _after_the_kill(given.run, log, outcomes)
    else:
        process.send_signal(signal.SIGTERM)
        found["exit_status"] = process.wait(60)
    print(json.dumps(found, ensure_ascii=False))


def _after_the_kill(run: Path, log: Path, outcomes: list[Outcome]) -> dict[str, Any]:
    """What of the acknowledged feedback is there, and whether the next start answers."""
    process, base, _ = started(run, log, [])
    again = ask_for(base, "", f"{_name(base)}-extractive", ["질문"], users=1, every_s=1, for_s=2)
    process.send_signal(signal.SIGTERM)
    status = process.wait(60)
    feedback = Feedback(feedback_path(run))
    votes = {kept.id: kept.vote for kept in feedback.judged()}
    told = [outcome.answer_id for outcome in outcomes if outcome.told]
    return {
        "acknowledged": len(told),
        "lost": sum(votes.get(id) != "up" for id in told),
        "second_start": {"statuses": sorted({outcome.status for outcome in again}), "exit_status": status},
    }


def _name(base: str) -> str:
    first = httpx.get(f"{base}/models", trust_env=False).json()["data"][0]["id"]
    return str(first).removesuffix("-extractive")


if __name__ == "__main__":
    main()
