"""Read a slow source in a thread of its own, so that its reader can leave at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from threading import Event, Thread

_LOOK_S = 0.05
_END = object()


def read_apart(
    source: Callable[[Event], Iterator[str]], stop: Event | None, limit_s: float
) -> Generator[str, None, None]:
    """The texts of a source as they come; what it raises is raised here.

    source: called in the thread with an event that is set when nobody reads any more; it ends with its next text.
    stop: set, it ends the reading within 50 ms, whatever the source is waiting for.
    Raises TimeoutError where the source has not ended after limit_s seconds.
    """
    left = Event()
    queue: SimpleQueue[object] = SimpleQueue()
    Thread(target=_read, args=(source, queue, left), daemon=True).start()
    end = time.monotonic() + limit_s
    try:
        while stop is None or not stop.is_set():
            if time.monotonic() > end:
                raise TimeoutError
            try:
                found = queue.get(timeout=_LOOK_S)
            except Empty:
                continue
            if found is _END:
                return
            if isinstance(found, Exception):
                raise found
            yield str(found)
    finally:
        left.set()


def _read(source: Callable[[Event], Iterator[str]], queue: SimpleQueue[object], left: Event) -> None:
    try:
        for text in source(left):
            queue.put(text)
            if left.is_set():
                return
    except Exception as error:  # it belongs to the reader's thread
        queue.put(error)
    queue.put(_END)
