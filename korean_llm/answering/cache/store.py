"""Kept answers in an SQLite file, for several threads and processes at once; the least used ones go first.

The file may be lost at any time without harm: one that is damaged is set aside, and a new one begun. Shapes: K kept
answers, D width of the encoder.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import NamedTuple

import numpy as np

from korean_llm import console

_SCHEMA = 1
_WAIT_S = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    exact TEXT NOT NULL,
    words TEXT NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    vector BLOB,
    used INTEGER NOT NULL,
    UNIQUE (scope, exact)
);
CREATE INDEX IF NOT EXISTS by_words ON answers (scope, words);
CREATE INDEX IF NOT EXISTS by_use ON answers (used);
"""
_NEXT = "(SELECT COALESCE(MAX(used), 0) + 1 FROM answers)"


@dataclass(frozen=True)
class Entry:
    """A kept answer: the question it was given to, as its asker typed it, and the answer as JSON text."""

    id: int
    question: str
    answer: str


class _Connection(NamedTuple):
    """An open file and which one it is."""

    db: sqlite3.Connection
    file: tuple[int, int]


def _identity(path: Path) -> tuple[int, int]:
    """(process, inode): a connection may be used in one process, and for one file, only."""
    try:
        return os.getpid(), path.stat().st_ino
    except OSError:
        return os.getpid(), -1


class KeptAnswers:
    """The file of kept answers; an instance may be shared by threads and forked processes.

    Nothing here ever stops an answer from being given: where the file cannot be read or written, nothing is found or
    kept, and a note says why.
    """

    def __init__(self, path: str | Path, max_entries: int = 10_000) -> None:
        """path: the SQLite file, made when first needed. max_entries: the least recently used ones beyond it go."""
        self.path, self.max_entries = Path(path), max_entries
        self._own = local()

    def __len__(self) -> int:
        """How many answers are kept."""
        with self._open() as db:
            return int(db.execute("SELECT COUNT(*) FROM answers").fetchone()[0]) if db else 0

    def exact(self, scope: str, exact: str) -> list[Entry]:
        """The answer kept for just this question, if there is one."""
        return self._entries("scope = ? AND exact = ?", scope, exact)

    def alike(self, scope: str, words: str) -> list[Entry]:
        """Answers kept for questions of the same words, the last used first."""
        return self._entries("scope = ? AND words = ?", scope, words)

    def near(self, scope: str, vector_D: np.ndarray, min_cosine: float, count: int) -> list[Entry]:
        """At most `count` answers to questions whose vectors are as near as this, the nearest first."""
        with self._open() as db:
            if db is None:
                return []
            rows = db.execute("SELECT id, vector FROM answers WHERE scope = ? AND vector IS NOT NULL", (scope,))
            found = [(id, vector) for id, vector in rows if len(vector) == vector_D.nbytes]
            if not found:
                return []
            vectors_KD = np.frombuffer(b"".join(vector for _, vector in found), np.float32).reshape(len(found), -1)
            cosines_K = vectors_KD @ vector_D
            best = [int(at) for at in np.argsort(-cosines_K)[:count] if cosines_K[at] >= min_cosine]
            entries = [self._select(db, "id = ?", found[at][0]) for at in best]
            return [entry for rows in entries for entry in rows]

    def keep(
        self, scope: str, exact: str, words: str, question: str, answer: str, vector_D: np.ndarray | None = None
    ) -> None:
        """Keep an answer, in place of the one kept for this question; vector_D: float32 and normalised."""
        vector = None if vector_D is None else np.ascontiguousarray(vector_D, np.float32).tobytes()
        with self._open() as db:
            if db is None:
                return
            db.execute(
                "INSERT OR REPLACE INTO answers (scope, exact, words, question, answer, vector, used)"
                f" VALUES (?, ?, ?, ?, ?, ?, {_NEXT})",
                (scope, exact, words, question, answer, vector),
            )
            db.execute(
                "DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY used DESC LIMIT -1 OFFSET ?)",
                (self.max_entries,),
            )

    def touch(self, entry: Entry) -> None:
        """Count an answer as the last used."""
        with self._open() as db:
            if db:
                db.execute(f"UPDATE answers SET used = {_NEXT} WHERE id = ?", (entry.id,))

    def drop(self, entry: Entry) -> None:
        """Forget an answer."""
        with self._open() as db:
            if db:
                db.execute("DELETE FROM answers WHERE id = ?", (entry.id,))

    def clear(self) -> None:
        """Forget all answers."""
        with self._open() as db:
            if db:
                db.execute("DELETE FROM answers")

    def close(self) -> None:
        """Let go of the file in this thread; the next call opens it again."""
        mine: _Connection | None = getattr(self._own, "connection", None)
        self._own.connection = None
        if mine is not None and mine.file[0] == os.getpid():
            mine.db.close()

    def _entries(self, where: str, *values: str) -> list[Entry]:
        with self._open() as db:
            return self._select(db, where, *values) if db else []

    def _select(self, db: sqlite3.Connection, where: str, *values: str | int) -> list[Entry]:
        rows = db.execute(f"SELECT id, question, answer FROM answers WHERE {where} ORDER BY used DESC", values)
        return [Entry(*row) for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """The database inside one transaction; None where it cannot be had. What fails inside is undone and noted."""
        db = self._connected()
        try:
            if db is None:
                yield None
                return
            with db:
                yield db
        except sqlite3.OperationalError as error:  # locked for too long, disk full, read-only: an answer is not kept
            console.note(f"the kept answers {self.path} are left alone this time: {error}")
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))

    def _connected(self) -> sqlite3.Connection | None:
        """This thread's connection, a new one where the process was forked or the file replaced."""
        mine: _Connection | None = getattr(self._own, "connection", None)
        if mine is not None and mine.file == _identity(self.path):
            return mine.db
        db = self._reached()
        self._own.connection = _Connection(db, _identity(self.path)) if db else None
        return db

    def _reached(self) -> sqlite3.Connection | None:
        try:
            return self._checked()
        except sqlite3.OperationalError as error:
            console.note(f"the kept answers {self.path} cannot be used: {error}")
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))
            try:
                return self._checked()
            except sqlite3.DatabaseError as again:
                console.note(f"the kept answers {self.path} cannot be used: {again}")
        except OSError as error:
            console.note(f"the kept answers {self.path} cannot be used: {error}")
        return None

    def _checked(self) -> sqlite3.Connection:
        """A connection to a file with our table. Raises sqlite3.DatabaseError where the file is something else."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=_WAIT_S)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"{_TABLE} PRAGMA user_version = {_SCHEMA};")
            elif version != _SCHEMA:
                raise sqlite3.DatabaseError(f"it was written by another version ({version})")
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, reason: str) -> None:
        """Rename a damaged file, unless another process has done so meanwhile."""
        self.close()
        with Path(f"{self.path}.lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with closing(self._checked()) as db:
                    sound = db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
            except sqlite3.DatabaseError:
                sound = False
            if sound:
                return
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            for suffix in ("", "-wal", "-shm"):
                old = Path(f"{self.path}{suffix}")
                if old.exists():
                    old.rename(f"{aside}{suffix}")
            console.note(f"the kept answers {self.path} were damaged ({reason}); they lie in {aside.name} now.")
