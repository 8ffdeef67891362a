"""Analysis on several processes: each is a fresh Python that knows Kiwi and nothing else, fed through its pipes.

Processes rather than threads, because the rules on top of Kiwi run in Python; fresh ones rather than copies of this
one, because copies of a process with threads may hang, and because a script of three lines has no main guard.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.analyzer import Analyzer

Work = Callable[[Analyzer, Sequence[str]], Any]
_SIZE = struct.Struct("<q")
_MIN_CHARS = 2_000_000
"""Less text than this is analysed sooner than a second process has loaded Kiwi."""


class Workers:
    """Runs work on lists of texts, in order. With one worker, or little text, everything runs in this process."""

    def __init__(self, analyzer: Analyzer, count: int, num_chars: int) -> None:
        self.analyzer = analyzer
        self._count = count if count > 1 and num_chars >= _MIN_CHARS else 0
        self.processes: list[subprocess.Popen[bytes]] = []

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
        """work(analyzer, chunk) of each chunk, in order."""
        if not self.processes:
            yield from (work(self.analyzer, chunk) for chunk in chunks)
            return
        idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self.processes:
            idle.put(process)

        def ask(chunk: Sequence[str]) -> Any:
            process = idle.get()
            try:
                _write(process.stdin, (work, list(chunk)))
                return _read(process.stdout)
            except (BrokenPipeError, EOFError):
                raise KoreanLLMError(
                    "a process that analyses text ended early (out of memory?); try again with --workers 1."
                ) from None
            finally:
                idle.put(process)

        with ThreadPoolExecutor(len(self.processes)) as threads:
            yield from threads.map(ask, chunks)


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
    try:
        while True:
            work, chunk = _read(sys.stdin.buffer)
            _write(sys.stdout.buffer, work(own, chunk))
    except (EOFError, KeyboardInterrupt):
        return
