"""Analysis on several processes: this one, and fresh Pythons that know Kiwi and nothing else, fed through their pipes.

Processes rather than threads, because the rules on top of Kiwi run in Python; fresh ones rather than copies of this
one, because copies of a process with threads may hang, and because a script of three lines has no main guard.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Any

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.analyzer import Analyzer

Work = Callable[[Analyzer, Sequence[str]], Any]
_SIZE = struct.Struct("<q")
_MIN_CHARS = 2_000_000
"""Less text than this is analysed sooner than a second process has loaded Kiwi."""

_PAUSE_S = 0.01


class Workers:
    """Runs work on lists of texts, in order, on `count` processes in all; little text runs in this one alone."""

    def __init__(self, analyzer: Analyzer, count: int, num_chars: int) -> None:
        self.analyzer = analyzer
        self._count = count - 1 if num_chars >= _MIN_CHARS else 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self._ready: set[subprocess.Popen[bytes]] = set()

    def __enter__(self) -> Workers:
        command = [sys.executable, "-c", "from korean_llm.retrieval.workers import serve; serve()"]
        for _ in range(self._count):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.processes.append(process)
            _write(process.stdin, (self.analyzer.fields, self.analyzer.exact, self.analyzer.terms_of_dictionary))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if kind is not None:
                process.kill()
            process.communicate()

    def map(self, work: Work, chunks: Sequence[Sequence[str]]) -> Iterator[Any]:
        """work(analyzer, chunk) of each chunk, in order; this process works along with the others."""
        results: deque[Future[Any]] = deque()
        waiting: SimpleQueue[tuple[Sequence[str], Future[Any]]] = SimpleQueue()
        for chunk in chunks:
            results.append(Future())
            waiting.put((chunk, results[-1]))

        def did_one(do: Callable[[Sequence[str]], Any]) -> bool:
            """Do the next chunk; False where none is waiting."""
            try:
                chunk, result = waiting.get_nowait()
            except Empty:
                return False
            try:
                result.set_result(do(chunk))
            except Exception as error:
                result.set_exception(error)
            return True

        def serve(process: subprocess.Popen[bytes]) -> None:
            while not self._is_ready(process):
                if waiting.empty():
                    return
                time.sleep(_PAUSE_S)
            while did_one(partial(_ask, process, work)):
                pass

        with ThreadPoolExecutor(max(len(self.processes), 1)) as threads:
            for process in self.processes:
                threads.submit(serve, process)
            try:
                while results:
                    while not results[0].done() and did_one(partial(work, self.analyzer)):
                        pass
                    yield results.popleft().result()  # what is handed on is not kept
            finally:
                while did_one(lambda chunk: None):
                    pass

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether a process has loaded Kiwi; until then this one does its share."""
        assert process.stdout is not None
        if process not in self._ready and select.select([process.stdout], [], [], 0)[0]:
            self._ready.add(process)
            _read(process.stdout)
        return process in self._ready


def _ask(process: subprocess.Popen[bytes], work: Work, chunk: Sequence[str]) -> Any:
    try:
        _write(process.stdin, (work, list(chunk)))
        return _read(process.stdout)
    except (BrokenPipeError, EOFError):
        raise KoreanLLMError(
            "a process that analyses text ended early (out of memory?); try again with --workers 1."
        ) from None


def _write(pipe: IO[bytes] | None, value: Any) -> None:
    assert pipe is not None
    data = pickle.dumps(value)
    pipe.write(_SIZE.pack(len(data)) + data)
    pipe.flush()


def _read(pipe: IO[bytes] | None) -> Any:
    """The next value; raises EOFError at the end."""
    assert pipe is not None
    if len(size := pipe.read(_SIZE.size)) < _SIZE.size:
        raise EOFError
    return pickle.loads(pipe.read(*_SIZE.unpack(size)))


def serve() -> None:
    """What a worker process does until its input ends."""
    own = Analyzer(*_read(sys.stdin.buffer))
    own.terms("가")  # Kiwi is loaded while the first process reads words
    _write(sys.stdout.buffer, "ready")
    try:
        while True:
            work, chunk = _read(sys.stdin.buffer)
            _write(sys.stdout.buffer, work(own, chunk))
    except (EOFError, KeyboardInterrupt):
        os._exit(0)  # taking Kiwi's model apart costs a second, in which the others would wait
