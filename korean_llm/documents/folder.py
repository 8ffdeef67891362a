"""The files of a folder, recursively: hidden ones and links to folders are left out and counted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from korean_llm.documents.kinds import SUFFIXES
from korean_llm.errors import KoreanLLMError

PATTERNS = tuple(f"*{suffix}" for suffix in SUFFIXES)


@dataclass(frozen=True)
class Found:
    """Files that match, sorted by path, and how many entries were left out, by reason.

    Attributes:
        num_hidden: files and folders whose name begins with a dot or "~$" (Office's lock files).
        num_others: files that match no pattern.
        num_links: links to folders, which may lead in a circle, and links to nothing.
        unreadable: folders that may not be listed.
    """

    files: tuple[Path, ...]
    num_hidden: int
    num_others: int
    num_links: int
    unreadable: tuple[Path, ...]


def find_files(folder: Path, patterns: Sequence[str] = PATTERNS) -> Found:
    """Walk a folder. patterns match names without regard to case. Raises KoreanLLMError where it is no folder."""
    if not folder.is_dir():
        raise KoreanLLMError(f"{folder} is no folder; give one that exists.")
    wanted = [pattern.lower() for pattern in patterns]
    files: list[Path] = []
    unreadable: list[Path] = []
    hidden = others = links = 0
    waiting = [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting[-1]))
        except OSError:
            entries = []
            unreadable.append(waiting[-1])
        waiting.pop()
        for entry in entries:
            if entry.name.startswith((".", "~$")):
                hidden += 1
            elif entry.is_symlink() and not Path(entry.path).is_file():
                links += 1
            elif entry.is_dir():
                waiting.append(Path(entry.path))
            elif any(fnmatch(entry.name.lower(), pattern) for pattern in wanted):
                files.append(Path(entry.path))
            else:
                others += 1
    return Found(tuple(sorted(files)), hidden, others, links, tuple(unreadable))
