"""What readers make of answers: votes, edits, second tries, copies and opened sources, kept in one SQLite file.

Write-ahead log with synchronous=FULL: what was acknowledged is on the disk, whatever is killed next
(https://www.sqlite.org/pragma.html#pragma_synchronous). Nothing that looks like a key is written down; personal data
is, since a conversation must be drawable again, and is masked when feedback leaves as a corpus.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Literal, get_args

from korean_llm.answering.answer import Answer
from korean_llm.answering.feedback.file import open_file
from korean_llm.answering.feedback.text import clean_row, cleaned
from korean_llm.answering.record import answer_of, as_json
from korean_llm.errors import KoreanLLMError

Kind = Literal["up", "down", "none", "edit", "regenerate", "copy", "citation", "abandon"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VOTES = ("up", "down", "none")

MAX_TEXT_CHARS = 100_000
MAX_ANSWER_CHARS = 2_000_000
"""With its prompt, passages and citations, as JSON."""
MAX_NAME_CHARS = 200

RECORDS = "records"
FILE = "feedback.sqlite"

_COLUMNS = "id, session, variant, time, answer"


@dataclass(frozen=True)
class Remembered:
    """An answer with what its reader made of it.

    Attributes:
        variant: which of several answers side by side this is; "" where it stood alone.
        time: when it was given, UTC, ISO 8601.
        vote: the last one; "" where there is none or it was taken back.
        edited: the answer as the reader last rewrote it; "" where it was not.
        regenerated: id of the answer that the reader asked for in its stead; "" where there is none.
    """

    id: str
    session: str
    variant: str
    time: str
    answer: Answer
    vote: Literal["up", "down", ""] = ""
    edited: str = ""
    regenerated: str = ""


class Feedback:
    """The feedback file of a run. Threads may share one; processes open one each."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make a new one where there is none.

        Raises KoreanLLMError where it is damaged, of a newer version, something else, or cannot be written.
        """
        self.path = path
        self._lock = Lock()
        self._file = open_file(path)

    def close(self) -> None:
        """Close the file; what was acknowledged is in it already."""
        with self._lock:
            self._file.close()

    def remember(self, answer: Answer, session: str, variant: str = "") -> str:
        """Write an answer down and return its id, which is hard to guess.

        Raises KoreanLLMError where the answer with its prompt is over MAX_ANSWER_CHARS, or it cannot be written.
        """
        given = as_json(answer)
        if len(given) > MAX_ANSWER_CHARS:
            raise KoreanLLMError(
                f"the answer with its prompt has {len(given):,} characters; at most {MAX_ANSWER_CHARS:,} are kept for"
                " feedback."
            )
        id = secrets.token_hex(12)
        kept = json.dumps(clean_row(answer), ensure_ascii=False)
        values = (id, _name("session", session), _name("variant", variant), _now(), kept)
        with self._writing() as file:
            file.execute(f"INSERT INTO answers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", values)
        return id

    def record(self, answer_id: str, kind: Kind, text: str = "") -> None:
        """Write down what the reader did with an answer.

        kind: up, down or none (takes a vote back): the last one counts; edit: text is the answer rewritten, the last
            one counts; regenerate: text is the id of the new answer; citation: text is the number opened; copy;
            abandon.
        Raises KoreanLLMError for an unknown id, kind or number, or a text that is empty or too long.
        """
        if kind not in KINDS:
            raise KoreanLLMError(f"feedback of the kind {kind!r} is not known; expected one of: {', '.join(KINDS)}.")
        if len(text) > MAX_TEXT_CHARS:
            raise KoreanLLMError(f"the text has {len(text):,} characters; feedback takes at most {MAX_TEXT_CHARS:,}.")
        with self._writing() as file:
            row = _row(file, answer_id)
            self._check(file, row, kind, text)
            values = (row["id"], kind, cleaned(text), _now())
            file.execute("INSERT INTO events (answer, kind, text, time) VALUES (?, ?, ?, ?)", values)

    def of(self, session: str) -> list[Remembered]:
        """The answers of a session in the order they were given, each with its latest vote and edit."""
        return self._read("WHERE session = ? ORDER BY number", (cleaned(session),))

    def judged(self) -> list[Remembered]:
        """All answers that were voted on, edited or asked for again, or stood beside another, in order."""
        asked = "SELECT answer FROM events WHERE kind IN ('up', 'down', 'edit', 'regenerate')"
        return self._read(f"WHERE variant != '' OR id IN ({asked}) ORDER BY number", ())

    def counts(self) -> dict[str, int]:
        """Answers, sessions, and how many answers there are of each kind of feedback; votes as they stand now."""
        with self._reading() as file:
            answers, sessions = file.execute("SELECT count(*), count(DISTINCT session) FROM answers").fetchone()
            standing = f"SELECT kind, count(*) FROM ({_STANDING}) GROUP BY kind"
            found = dict(tuple(row) for row in file.execute(standing))
        kinds = {str(kind): found.get(kind, 0) for kind in KINDS if kind != "none"}
        return {"answers": answers, "sessions": sessions, **kinds}

    def forget(self, session: str) -> int:
        """Delete a session's answers and all feedback on them, its bytes too; how many answers there were."""
        return self._delete("session = ?", cleaned(session))

    def purge(self, older_than_days: float) -> int:
        """Delete answers older than so many days, as `forget` does; how many there were."""
        return self._delete("time < ?", _now(timedelta(days=older_than_days)))

    def _delete(self, condition: str, value: str) -> int:
        with self._writing() as file:
            count = file.execute(f"DELETE FROM answers WHERE {condition}", (value,)).rowcount
        with self._reading() as file:  # deleted text stands in the log until the log is emptied
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return count

    def _check(self, file: sqlite3.Connection, row: sqlite3.Row, kind: Kind, text: str) -> None:
        """Refuse what says nothing about the answer."""
        if kind == "edit" and not text.strip():
            raise KoreanLLMError("the edited answer is empty; give the whole answer as it should be.")
        if kind == "regenerate":
            new = _row(file, text)
            if new["id"] == row["id"] or new["session"] != row["session"]:
                raise KoreanLLMError(f"{text!r} is no other answer of the same session; give the new answer's id.")
        if kind == "citation":
            numbers = [str(citation["number"]) for citation in json.loads(row["answer"])["citations"]]
            if text not in numbers:
                cited = f"it cites {', '.join(numbers)}" if numbers else "it cites nothing"
                raise KoreanLLMError(f"the answer has no citation {text[:20]!r}; {cited}.")

    def _read(self, condition: str, values: tuple[str, ...]) -> list[Remembered]:
        with self._reading() as file:
            rows = file.execute(f"SELECT {_COLUMNS} FROM answers {condition}", values).fetchall()
            return [_remembered(file, row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The file, for this thread alone; what SQLite objects to becomes one sentence."""
        with self._lock:
            try:
                yield self._file
            except (sqlite3.Error, ValueError) as error:
                raise KoreanLLMError(
                    f"the feedback file {self.path} cannot be used ({error}); free some space, wait for other programs"
                    " that use it, or move it aside if it is damaged."
                ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside is on the disk when this ends, or none of it."""
        with self._reading() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
                file.execute("COMMIT")
            except BaseException:
                file.rollback()
                raise


# The votes, edits and second tries that count, and every copy, citation and abandonment: one row an answer and kind.
_STANDING = """
SELECT answer, kind FROM events WHERE kind NOT IN ('up', 'down', 'none') GROUP BY answer, kind
UNION ALL
SELECT answer, kind FROM (
    SELECT answer, kind, max(number) FROM events WHERE kind IN ('up', 'down', 'none') GROUP BY answer)
"""


def _remembered(file: sqlite3.Connection, row: sqlite3.Row) -> Remembered:
    last: dict[str, Any] = {}
    for event in file.execute("SELECT kind, text FROM events WHERE answer = ? ORDER BY number", (row["id"],)):
        kind = "vote" if event["kind"] in VOTES else event["kind"]
        last[kind] = event["kind"] if kind == "vote" else event["text"]
    vote = last.get("vote", "none")
    return Remembered(
        **{name: row[name] for name in ("id", "session", "variant", "time")},
        answer=answer_of(json.loads(row["answer"])),
        vote="" if vote == "none" else vote,
        edited=last.get("edit", ""),
        regenerated=last.get("regenerate", ""),
    )


def _row(file: sqlite3.Connection, id: str) -> sqlite3.Row:
    found = file.execute("SELECT id, session, answer FROM answers WHERE id = ?", (cleaned(id),)).fetchone()
    if found is None:
        raise KoreanLLMError(f"no answer has the id {id[:40]!r}; it was forgotten, or never given.")
    row: sqlite3.Row = found
    return row


def _name(what: str, value: str) -> str:
    if len(value) > MAX_NAME_CHARS:
        raise KoreanLLMError(f"the {what} has {len(value):,} characters; at most {MAX_NAME_CHARS} are taken.")
    return cleaned(value)


def _now(before: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) - before).isoformat(timespec="microseconds")


def feedback_path(run_folder: Path) -> Path:
    """Where a run's feedback lies."""
    return run_folder / RECORDS / FILE
