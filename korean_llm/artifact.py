"""An artifact: a folder whose manifest.json is written last. A manifest means complete.

A stage writes into `<stage>.partial/`. `partial.json` in it says for which settings and inputs, so that a killed
stage can go on where its own files allow. When the stage returns, every file is hashed, the manifest is written
and flushed to disk, and the folder is renamed to `<stage>/`. A rebuilt stage takes the old folder's place only then.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from korean_llm.errors import KoreanLLMError

SCHEMA = 1
MANIFEST = "manifest.json"
PARTIAL = "partial.json"
METRICS_FILE = "metrics.jsonl"
_SIDE_FILES = {MANIFEST, PARTIAL}


@dataclass(frozen=True)
class File:
    """One file of an artifact: path inside it, size, SHA-256, and the modification time when it was hashed."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """What made an artifact, what it holds, and what was measured on the way."""

    kind: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    files: list[File]
    counts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    start: str = ""
    seconds: float = 0.0
    device: str = ""
    schema: int = SCHEMA

    @property
    def fingerprint(self) -> str:
        """SHA-256 over kind, settings, inputs, seed and the content of every file.

        Times, versions and metrics.jsonl (which holds times) do not count: the same work done twice is the same.
        """
        files = sorted((file.path, file.sha256) for file in self.files if file.path != METRICS_FILE)
        return digest([self.schema, self.kind, self.settings, self.inputs, self.seed, files])

    @property
    def checksum(self) -> str:
        """SHA-256 over everything, figures included, so that a damaged manifest is known as one."""
        return digest(json.loads(json.dumps(asdict(self))))


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(folder: Path) -> Iterator[Path]:
    """The artifact's own files in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in _SIDE_FILES:
            yield path


def describe_files(folder: Path) -> list[File]:
    """Hash every file of a folder."""
    found = []
    for path in _walk(folder):
        state = path.stat()
        name = path.relative_to(folder).as_posix()
        found.append(File(name, state.st_size, hash_file(path), state.st_mtime_ns))
    return found


def load_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest, or None where there is none: then the artifact is not complete.

    Raises KoreanLLMError where the manifest is damaged or of another schema.
    """
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("schema") != SCHEMA:
            raise KoreanLLMError(f"{path} was written by another version; run the stage again with --force.")
        marks = value.pop("fingerprint"), value.pop("checksum")
        files = [File(**item) for item in value.pop("files")]
        manifest = Manifest(files=files, **value)
        if marks != (manifest.fingerprint, manifest.checksum):
            raise ValueError("the checksum differs")
        return manifest
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise KoreanLLMError(f"{path} is damaged; run again with --only {folder.name} --force to rebuild it.") from None


def problems(folder: Path, manifest: Manifest, *, thorough: bool = True) -> list[str]:
    """What is wrong with an artifact's files, one line each; an empty list where all is well.

    thorough=True hashes every file. thorough=False trusts a file whose size and modification time are those
    recorded, and hashes it otherwise, as git does: an untouched 15 GB model is checked in microseconds.
    """
    lines = []
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            lines.append(f"{path} is missing")
            continue
        state = path.stat()
        if state.st_size != file.bytes:
            lines.append(f"{path} is damaged: {state.st_size:,} bytes, its manifest says {file.bytes:,}")
        elif (thorough or state.st_mtime_ns != file.mtime_ns) and hash_file(path) != file.sha256:
            lines.append(f"{path} is damaged: its SHA-256 differs from its manifest's")
    listed = {file.path for file in manifest.files}
    extra = [path for path in _walk(folder) if path.relative_to(folder).as_posix() not in listed]
    lines.extend(f"{path} is not in the manifest" for path in extra)
    return lines


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside its place, flush it, and rename it there."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    sync(aside)
    aside.replace(path)


def partial_folder(folder: Path) -> Path:
    """Where a stage writes before it is complete."""
    return folder.with_name(folder.name + ".partial")


def _retired_folder(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def recover(folder: Path) -> None:
    """Finish or undo a rename that a kill interrupted; needed once before a folder is looked at."""
    partial, retired = partial_folder(folder), _retired_folder(folder)
    if (partial / MANIFEST).exists():
        _take_place(partial, folder)
    if retired.exists():
        if folder.exists():
            shutil.rmtree(retired)
        else:
            retired.rename(folder)


def _take_place(partial: Path, folder: Path) -> None:
    """Put a finished partial folder in its place."""
    retired = _retired_folder(folder)
    if retired.exists():
        shutil.rmtree(retired)
    if folder.exists():
        folder.rename(retired)
    (partial / PARTIAL).unlink(missing_ok=True)
    partial.rename(folder)
    sync(folder.parent)
    if retired.exists():
        shutil.rmtree(retired)


def begin(folder: Path, identity: dict[str, Any], *, keep: str | None = None) -> Path:
    """Open `<stage>.partial` for writing and return it.

    A partial folder left by a killed run of the same identity (kind, settings, inputs, seed) keeps its subfolder
    `keep` and its metrics.jsonl; everything else is removed.
    """
    partial = partial_folder(folder)
    note = partial / PARTIAL
    try:
        same = json.loads(note.read_text(encoding="utf-8")) == json.loads(json.dumps(identity))
    except (FileNotFoundError, ValueError):
        same = False
    if partial.exists():
        kept = {PARTIAL, keep, METRICS_FILE} if same and keep and (partial / keep).exists() else set()
        for path in partial.iterdir():
            if path.name in kept:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    partial.mkdir(parents=True, exist_ok=True)
    write_json(note, identity)
    return partial


def finish(folder: Path, manifest: Manifest) -> None:
    """Flush the partial folder, write the manifest last, and put the folder in its place."""
    partial = partial_folder(folder)
    for file in manifest.files:
        sync(partial / file.path)
    for path in [partial, *(path for path in partial.rglob("*") if path.is_dir())]:
        sync(path)
    write_json(
        partial / MANIFEST, {"fingerprint": manifest.fingerprint, "checksum": manifest.checksum, **asdict(manifest)}
    )
    _take_place(partial, folder)
