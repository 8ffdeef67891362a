"""A reader's own documents: read with limits, indexed in a folder that goes when the reader goes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from korean_llm.artifact import MANIFEST
from korean_llm.documents import check_name
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from korean_llm.retrieval.files import as_rows
from korean_llm.retrieval.store import Options

SUFFIXES = (".txt", ".md", ".pdf", ".docx", ".hwp", ".hwpx", ".csv", ".html")
MAX_FILES = 20
MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_TEXT_CHARS = 3_000_000
"""Of all of a reader's documents together."""

QUESTIONS = "questions.json"
PASSAGE_CHARS = Options().passage_chars

State = Literal["waiting", "reading", "done", "refused"]
Reason = Literal["kind", "name", "locked", "large", "many", "empty", "damaged", "encoding", "unknown"]

# What the readers' sentences say, as a reason that a page can put in its own words.
_REASONS: tuple[tuple[str, Reason], ...] = (
    (r"by its content, not", "name"),
    (r"password|encrypt|locked", "locked"),
    (r"too many files", "many"),
    (r"unpacks to|characters of text|bytes", "large"),
    (r"holds no text|no document to index|documents holds any text", "empty"),
    (r"in an encoding", "encoding"),
    (r"damaged|broken|cannot be (read|opened)", "damaged"),
    (r"has the ending|files are read", "kind"),
)


@dataclass(frozen=True)
class Upload:
    """A file that a reader sent; reason is set where it was refused, problem is the reader's own sentence on it."""

    name: str
    state: State = "waiting"
    num_chars: int = 0
    reason: Reason | None = None
    problem: str = ""


class Uploads:
    """Documents of one reader and the indexes over them.

    `index` holds them alone and searches by words; `joined` holds them beside the run's and searches as the run does.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._writing = RLock()
        self._joined: Index | None = None
        self.index: Index | None = None
        self.listed: dict[str, Upload] = {}

    def add(self, paths: Sequence[Path]) -> Iterator[list[Upload]]:
        """Read and index files one by one; what is known of all of them, again after every step.

        A file that is refused leaves the others alone. The files given are deleted: what is kept is their text.
        """
        for path in paths:
            self.listed[path.name] = Upload(path.name)
        yield self.uploads
        for path in paths:
            self.listed[path.name] = Upload(path.name, "reading")
            yield self.uploads
            try:
                self.listed[path.name] = self._take(path)
            except KoreanLLMError as error:
                problem = str(error)
                self.listed[path.name] = Upload(path.name, "refused", reason=reason(problem), problem=problem)
            finally:
                path.unlink(missing_ok=True)
            yield self.uploads

    @property
    def uploads(self) -> list[Upload]:
        """Every file so far, oldest first."""
        return list(self.listed.values())

    @property
    def num_documents(self) -> int:
        """Files that can be asked about."""
        return len(self._rows)

    def joined(self, run_index: Index) -> Index:
        """The run's index with the reader's documents in it; a document of the same id takes the run's place."""
        with self._writing:
            if self._joined is None:
                folder = self._home / "joined"
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(run_index.folder, folder, copy_function=_linked, ignore=_of_the_run)
                encoder = run_index.dense.encoder if run_index.dense else None
                self._joined = Index.open(folder, self._machine, encoder=encoder)
                self._joined.update([row for rows in self._rows.values() for row in rows], self._machine)
            return self._joined

    def clear(self) -> None:
        """Forget every document and remove the folder."""
        with self._writing:
            self.index = self._joined = None
            self.listed, self._rows = {}, {}
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    @property
    def _home(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="korean-llm-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def _take(self, path: Path) -> Upload:
        """Raises KoreanLLMError in one sentence where the file is not to be had."""
        self._check(path)
        rows = _rows(path)
        num_chars = sum(len(row["text"]) for row in rows)
        with self._writing:
            others = sum(len(row["text"]) for name, known in self._rows.items() if name != path.name for row in known)
            if num_chars + others > MAX_TEXT_CHARS:
                raise KoreanLLMError(
                    f"{path.name} holds {num_chars:,} characters of text, at most {MAX_TEXT_CHARS:,} are taken in all."
                )
            self._write(path.name, rows)
        return Upload(path.name, "done", num_chars)

    def _check(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise KoreanLLMError(f"{path.name} has the ending {path.suffix!r}; {', '.join(SUFFIXES)} files are read.")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise KoreanLLMError(f"{path.name} has {size:,} bytes, at most {MAX_FILE_BYTES:,} are read; split it.")
        if path.name not in self._rows and len(self._rows) >= MAX_FILES:
            raise KoreanLLMError(f"{path.name} is one too many files, at most {MAX_FILES} are taken.")
        if size == 0:
            raise KoreanLLMError(f"{path.name} holds no text.")
        check_name(path)

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        if self.index is None:
            self.index = Index.build(rows, self._home / "own", machine=self._machine)
        else:
            gone = {row["id"] for row in self._rows.get(name, ())} - {row["id"] for row in rows}
            self.index.update(rows, self._machine)
            self.index.delete(gone, self._machine)
        self._rows[name], self._joined = rows, None


def reason(problem: str) -> Reason:
    """Why a file was refused, by the sentence that refused it."""
    return next((kind for pattern, kind in _REASONS if re.search(pattern, problem)), "unknown")


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows for an index; ids begin with the file's name and not with where it lay."""
    rows = [{**row, "id": row["id"].replace(path.as_posix(), path.name, 1)} for row in as_rows([path], PASSAGE_CHARS)]
    if not rows:
        raise KoreanLLMError(f"{path.name} holds no text.")
    return rows


def _of_the_run(_: str, names: list[str]) -> list[str]:
    """What makes an index folder part of a run; with it, it could not be added to."""
    return [name for name in names if name in (MANIFEST, QUESTIONS)]


def _linked(source: str, target: str) -> None:
    """A file of an index is never written to again, so a second name for it does as well as a copy."""
    if Path(source).name == "index.json":
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)
