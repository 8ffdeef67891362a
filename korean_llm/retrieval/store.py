"""An index folder and its growth: segments are written beside the old ones, then one rename makes them the index.

`index.json` names the segments. A writer holds a lock, writes new folders, flushes them to disk and renames a new
`index.json` into place: whatever is killed when, the folder is the old index or the new one. Folders that
no manifest names are removed by the next writer.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from korean_llm import kiwi
from korean_llm.artifact import MANIFEST, sync, write_json
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.analyzer import RULES_VERSION, Fields
from korean_llm.retrieval.expand import Expansion
from korean_llm.retrieval.fuse import Method
from korean_llm.retrieval.segment import Entry

INDEX = "index.json"
SEGMENTS = "segments"
_SCHEMA = 2


@dataclass(frozen=True)
class Options:
    """How an index is made and searched; all of it is kept in the index.

    Attributes:
        analyzer: what the lexical arm counts; exact: whether whole texts are analysed rather than eojeols.
        dictionary: the user's own terms.
        passage_chars: target length of a passage, which the lexical arm scores and a hit returns.
        small_chars: target length of the small passages that the dense arm encodes.
        dense_weight: weight of the dense arm in the fusion; fusion: how scores are made comparable.
        reranker: folder of a cross-encoder that scores the best 50 again; rerank_weight: its weight there.
        expansion: what a language model at endpoint adds to a question; endpoint_model: its name there.
        milvus: URI of a Milvus that does the two searches, None: this machine does; milvus_name: of its collections.
        query_prefix, passage_prefix: what the encoder wants before a text.
    """

    analyzer: Fields = "kiwi+bigram"
    exact: bool = False
    dictionary: tuple[str, ...] = ()
    passage_chars: int = 1_200
    small_chars: int = 300
    dense_weight: float = 0.35
    fusion: Method = "z-score"
    reranker: str | None = None
    rerank_weight: float = 0.5
    expansion: Expansion = "none"
    endpoint: str | None = None
    endpoint_model: str | None = None
    milvus: str | None = None
    milvus_name: str = "korean_llm"
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "


@dataclass(frozen=True)
class State:
    """What index.json says. generation counts its writes; encoder: folder of the encoder, None without one."""

    generation: int
    options: Options
    encoder: str | None
    segments: tuple[Entry, ...]
    made_with: dict[str, Any]

    @property
    def num_documents(self) -> int:
        """Living documents."""
        return sum(entry.documents for entry in self.segments)

    @property
    def num_passages(self) -> int:
        """Living passages."""
        return sum(entry.passages for entry in self.segments)


def here() -> dict[str, Any]:
    """What decides the terms of a text, and so whether an index fits."""
    return {"kiwipiepy": kiwi.version(), "rules": RULES_VERSION}


def read_state(folder: Path) -> State:
    """Read index.json. Raises KoreanLLMError where there is none; OSError, ValueError, … where it is damaged."""
    path = folder / INDEX
    if not path.is_file():
        raise KoreanLLMError(f"{folder} holds no search index; make one with `korean-llm index {folder} FILE...`.")
    value = json.loads(path.read_text(encoding="utf-8"))
    if value.get("schema") != _SCHEMA:
        raise KoreanLLMError(f"the index {folder} was written by another version; {rebuild_command(folder)}")
    options = dict(value["options"])
    options["dictionary"] = tuple(options["dictionary"])
    segments = tuple(Entry(**entry) for entry in value["segments"])
    return State(value["generation"], Options(**options), value["encoder"], segments, value["made_with"])


def check_fits(folder: Path, state: State) -> None:
    """Raises KoreanLLMError where an index was made by another Kiwi or other rules."""
    if state.made_with != (found := here()):
        raise KoreanLLMError(
            f"the index {folder} was made with kiwipiepy {state.made_with.get('kiwipiepy')} and rules"
            f" {state.made_with.get('rules')}, here are {found['kiwipiepy']} and {found['rules']};"
            f" {rebuild_command(folder)}"
        )


def rebuild_command(folder: Path) -> str:
    """The sentence that says how to build an index again."""
    if (folder / MANIFEST).exists():
        return "build it again with `korean-llm run RECIPE --only retrieval --force`."
    return f"build it again with `korean-llm index {folder} --rebuild`, or from its documents into a new folder."


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises KoreanLLMError where another process writes, or the folder is part of a run."""
    if (folder / MANIFEST).exists():
        raise KoreanLLMError(
            f"{folder} belongs to a run and is not changed by itself; change the recipe's documents and run it again,"
            " or make an index of its own with `korean-llm index`."
        )
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise KoreanLLMError(f"another process is writing to {folder}; try again when it has finished.") from None
    finally:
        os.close(handle)


def check_folder(folder: Path) -> None:
    """Raises KoreanLLMError where a folder to build in is a file or holds something else."""
    if folder.exists() and not folder.is_dir():
        raise KoreanLLMError(f"{folder} is a file; choose a folder for the index.")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    strangers = {name for name in names if not name.startswith("encoder-")} - {SEGMENTS, "partial.json"}
    if INDEX not in names and strangers:
        raise KoreanLLMError(f"{folder} exists and holds no index; choose an empty folder.")


def new_segment(folder: Path) -> Path:
    """A folder for a segment that no other has ever been in."""
    numbers = [int(path.name) for path in (folder / SEGMENTS).glob("*") if path.name.isdigit()]
    return folder / SEGMENTS / f"{max(numbers, default=0) + 1:06}"


def commit(folder: Path, state: State, segments: Sequence[Entry]) -> State:
    """Make these segments the index, at once and for good, and remove what is no longer part of it."""
    on_disk = {(entry.name, entry.dead) for entry in state.segments}
    for entry in segments:
        if (entry.name, entry.dead) not in on_disk:
            _flush_segment(folder / SEGMENTS / entry.name, entry, entry.name in {name for name, _ in on_disk})
    sync(folder / SEGMENTS)
    state = replace(state, generation=state.generation + 1, segments=tuple(segments))
    value = {
        "schema": _SCHEMA,
        "generation": state.generation,
        "made_with": state.made_with,
        "options": vars(state.options),
        "encoder": state.encoder,
        "segments": [entry.as_dict() for entry in segments],
    }
    write_json(folder / INDEX, value)
    sync(folder)
    clean(folder, state)
    return state


def clean(folder: Path, state: State) -> None:
    """Remove what the manifest does not name: what a killed writer left, and what has been replaced."""
    known = {entry.name: entry.dead for entry in state.segments}
    for path in (folder / SEGMENTS).glob("*"):
        if path.name not in known:
            shutil.rmtree(path)
        else:
            for dead in path.glob("dead-*"):
                if dead.name != known[path.name]:
                    shutil.rmtree(dead)
    for path in folder.glob("encoder-*"):
        if path.name != state.encoder:
            shutil.rmtree(path)


def _flush_segment(folder: Path, entry: Entry, only_dead: bool) -> None:
    """Flush a new segment, or of an old one what says who is dead."""
    dead = folder / entry.dead if entry.dead else None
    for path in [folder, *(() if only_dead else folder.glob("*.*")), *((dead, *dead.glob("*")) if dead else ())]:
        sync(path)
