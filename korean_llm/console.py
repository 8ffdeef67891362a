"""What the user sees while work goes on: notes, progress bars, tables, and metrics.jsonl."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from korean_llm.artifact import METRICS_FILE

T = TypeVar("T")

# Everything but a command's own result goes to stderr, so that `--json` output can be piped.
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print one line for the user on stderr, as plain text."""
    stderr.print(escape(text))


def training_bar() -> Progress:
    """A bar whose owner starts, updates and stops it."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield items under a progress bar on stderr; total is taken from len() where there is one."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with training_bar() as bar:
        task = bar.add_task(escape(description), total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def working(description: str) -> Iterator[None]:
    """Show a spinner and the elapsed time around work whose length is not known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        bar.add_task(escape(description), total=None)
        yield


def print_table(title: str, columns: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table on stdout."""
    table = Table(title=escape(title) if title else None, title_justify="left")
    for column in columns:
        table.add_column(escape(column))
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    stdout.print(table)


def log_metrics(folder: Path, **values: Any) -> None:
    """Append one line to folder/metrics.jsonl, with the time in seconds since the epoch as `time_s`.

    A last line that a full disk or a kill tore is ended first, so that it takes no other line with it.
    """
    line = json.dumps({"time_s": round(time.time(), 3), **values}, ensure_ascii=False) + "\n"
    with (folder / METRICS_FILE).open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode())


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of folder/metrics.jsonl, an empty list where there is none; a torn line is left out."""
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
