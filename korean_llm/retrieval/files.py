"""Documents for an index from rows, files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.corpus.read import read_file
from korean_llm.documents import Problem, find_files, read_files, split

Row = dict[str, Any]

_ROWS = (".jsonl", ".jsonl.gz", ".parquet")


def as_rows(documents: Iterable[Row | str | Path], passage_chars: int) -> Iterator[Row]:
    """Rows as they are; what files and folders hold as rows, cut into passages along their structure.

    A file of a folder that cannot be read is named and left out; one that is named itself raises KoreanLLMError.
    """
    for item in documents:
        if isinstance(item, dict):
            yield item
        elif Path(item).is_dir():
            yield from _folder(Path(item), passage_chars)
        else:
            yield from _file(Path(item), passage_chars)


def _file(path: Path, passage_chars: int) -> Iterator[Row]:
    if path.name.endswith(_ROWS):
        for number, (_, row) in enumerate(read_file(path)):
            yield {"id": f"{path.name}:{number}", **row}
    else:
        yield from _read([path], passage_chars, "raise")


def _folder(folder: Path, passage_chars: int) -> Iterator[Row]:
    found, problems = find_files(folder), list[Problem]()
    yield from _read(found.files, passage_chars, problems)
    for problem in problems:
        console.note(f"left out: {problem.message}")
    if found.num_others or found.num_hidden:
        console.note(f"{folder}: {found.num_others} files of other kinds and {found.num_hidden} hidden ones left out")


def _read(paths: Iterable[Path], passage_chars: int, on_error: Any) -> Iterator[Row]:
    for document in read_files(paths, on_error=on_error):
        for note in document.notes:
            console.note(f"{document.id}: {note}")
        spans = [(passage.start, passage.end) for passage in split(document, passage_chars)]
        pages = [(page.number, page.start, page.end) for page in document.pages]
        yield {"id": document.id, "title": document.title, "text": document.text, "spans": spans, "pages": pages}
