"""The SQLite file of feedback: made whole or not at all, known by its marks, refused where it is anything else."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from korean_llm.artifact import sync
from korean_llm.errors import KoreanLLMError

VERSION = 1
_APPLICATION = 0x6B6C6662  # "klfb": tells a feedback file from any other SQLite file
_WAIT_S = 30.0

_TABLES = """
CREATE TABLE answers (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    variant TEXT NOT NULL,
    time TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX answers_of_a_session ON answers (session);
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    answer TEXT NOT NULL REFERENCES answers (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    time TEXT NOT NULL
);
CREATE INDEX events_of_an_answer ON events (answer);
"""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the file, made where there is none; rows by name, transactions begun by hand.

    Raises KoreanLLMError where the file is damaged, of a newer version, something else, or cannot be written.
    """
    try:
        if not path.exists():
            _make(path)
        return _checked(_connect(path), path)
    except (OSError, sqlite3.OperationalError) as error:
        raise KoreanLLMError(
            f"the feedback file {path} cannot be opened for writing ({error}); check who owns it, and free some space."
        ) from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _make(path: Path) -> None:
    """Make an empty file aside and link it into place, so that a file in place is always whole, whoever comes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as aside:
        new = Path(aside) / path.name
        connection = _connect(new)
        connection.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA application_id = {_APPLICATION}; BEGIN; {_TABLES}"
            f"PRAGMA user_version = {VERSION}; COMMIT;"
        )
        connection.close()
        try:
            path.hardlink_to(new)
        except FileExistsError:
            return
        sync(path.parent)


def _checked(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        for setting in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}")
        application, version = (_pragma(connection, name) for name in ("application_id", "user_version"))
        if application != _APPLICATION:
            raise _damaged(path, "it bears no mark of korean-llm")
        if version != VERSION:
            raise KoreanLLMError(
                f"the feedback file {path} was written by another korean-llm (its version is {version}, this one knows"
                f" {VERSION}); use that one, or move the file aside."
            )
        if (found := _pragma(connection, "quick_check(1)")) != "ok":
            raise _damaged(path, " ".join(str(found).split()))
    except BaseException:
        connection.close()
        raise
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _damaged(path: Path, why: str) -> KoreanLLMError:
    return KoreanLLMError(
        f"the feedback file {path} is damaged or is none ({why}); nothing was changed: keep what"
        f" `sqlite3 {path} .recover` finds, then move the file aside and a new one is begun."
    )
