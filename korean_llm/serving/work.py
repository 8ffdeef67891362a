"""Blocking work beside the event loop: in threads, within a time limit, ended when its client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from korean_llm.serving.limits import Gate
from korean_llm.serving.refusal import RefusedError

T = TypeVar("T")

LINE_S = 15.0
"""Who waits longer than this for a slot is told that the server is busy."""

LAST_STEP_S = 30.0
"""What is stopped ends within a token; if it has not after this long, the client is told and the thread left alone."""


class _Over:
    """Stands in the queue after the last item."""


class Work:
    """Runs blocking iterators in threads and hands their items to the event loop."""

    def __init__(self, num_threads: int, time_limit_s: float) -> None:
        """time_limit_s: work is stopped after so long, waiting included, and keeps what it has said."""
        self.time_limit_s = time_limit_s
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="answer")
        self._running: set[Event] = set()

    def __len__(self) -> int:
        return len(self._running)

    def end_all(self) -> None:
        """Ask everything that runs to end; it keeps what it has said."""
        for stop in self._running:
            stop.set()

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def items(self, gate: Gate, source: Callable[[Event], Iterator[T]], stop: Event) -> AsyncIterator[T]:
        """The items of source(stop) as they come; none where `stop` was set while it waited in line.

        Raises what the source raises, and RefusedError where the line is full or the work does not end in time.
        """
        end_s = asyncio.get_running_loop().time() + self.time_limit_s
        self._running.add(stop)
        try:
            await gate.enter(min(LINE_S, self.time_limit_s))
            if stop.is_set():
                gate.leave()
                return
            queue = _started(self._pool, gate, source, stop)
            while not isinstance(item := await _next(queue, stop, end_s), _Over):
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()
            self._running.discard(stop)


def _started(
    pool: ThreadPoolExecutor, gate: Gate, source: Callable[[Event], Iterator[T]], stop: Event
) -> asyncio.Queue[T | Exception | _Over]:
    """Start the work; its slot is given back when its thread is done, whoever still waits for it."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[T | Exception | _Over]()

    def put(item: T) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def end(item: Exception | _Over) -> None:
        gate.leave()  # before the one who waits learns of the end, so that the next request finds the slot free
        queue.put_nowait(item)

    def work() -> None:
        last: Exception | _Over = _Over()
        try:
            for item in source(stop):
                put(item)
        except Exception as error:  # handed to the one who waits
            last = error
        finally:
            loop.call_soon_threadsafe(end, last)

    pool.submit(work)
    return queue


async def _next(queue: asyncio.Queue[T], stop: Event, end_s: float) -> T:
    """The next item; past the time limit the work is stopped, and a last step waited for."""
    loop = asyncio.get_running_loop()
    try:
        return await asyncio.wait_for(queue.get(), max(0.0, end_s - loop.time()))
    except TimeoutError:
        stop.set()
    try:
        return await asyncio.wait_for(queue.get(), LAST_STEP_S)
    except TimeoutError:
        raise RefusedError(504, "timeout", "the answer took too long") from None
