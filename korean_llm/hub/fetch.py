"""Fetch a repository of the Hub at one commit: safetensors, settings, tokenizer and template; nothing else, ever."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download

from korean_llm import console
from korean_llm.artifact import hash_file
from korean_llm.errors import KoreanLLMError
from korean_llm.hub.identity import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from korean_llm.hub.refusals import hub_errors

SETTINGS = ("*.json", "*.jinja", "*.txt", "tokenizer.model", "LICENSE*")
WEIGHTS = ("*.safetensors",)

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = "give the folder of a local copy"


@dataclass(frozen=True)
class Fetched:
    """A folder that is there; revision: the commit of the Hub it is, None for a local folder."""

    folder: Path
    revision: str | None


def hub_id(source: str | Path) -> tuple[str, str | None] | None:
    """(org/name, revision) of `org/name` or `org/name@revision`; None for what is no Hub id."""
    name, _, revision = str(source).partition("@")
    if isinstance(source, Path) or not _ID.fullmatch(name):
        return None
    return name, revision or None


def fetch_adapter(source: str | Path, revision: str | None = None) -> Fetched:
    """The adapter of a local folder, or of the Hub (`org/name`, `org/name@revision`), pinned to one commit.

    A folder wins over a Hub id of the same name; of an artifact folder its adapter/ is taken. Offline, the cache
    answers. Raises KoreanLLMError where it cannot be had whole, or holds no adapter in safetensors.
    """
    local = Path(source).expanduser()
    for folder in (local, local / "adapter"):
        if (folder / ADAPTER_CONFIG).exists():
            check_files(folder)
            return Fetched(folder, None)
    named = hub_id(source)
    if named is None or local.exists():
        raise KoreanLLMError(f"{source} holds no adapter ({ADAPTER_CONFIG} is missing); give its folder or a Hub id.")
    fetched = fetch(named[0], revision or named[1], (*SETTINGS, ADAPTER_WEIGHTS))
    names = _names(fetched.folder)
    if ADAPTER_WEIGHTS not in names or ADAPTER_CONFIG not in names:
        names = _listed(named[0], fetched)
    _check_names(named[0], names)
    _check_content(fetched.folder / ADAPTER_WEIGHTS, named[0])
    return fetched


def fetch(repository: str, revision: str | None, patterns: tuple[str, ...], instead: str = _FOLDER) -> Fetched:
    """The files of a repository that fit the patterns, at one commit; the client resolves the revision first.

    Files in folders are left out. instead: what to do where the Hub is out of reach.
    Raises KoreanLLMError where they cannot be had.
    """
    with hub_errors(repository, instead), console.working(f"fetching {repository}"):
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=list(patterns), ignore_patterns=["*/*"]
        )
    return Fetched(Path(folder), Path(folder).name)


def check_files(folder: Path) -> None:
    """Raises KoreanLLMError where a folder holds no adapter, or holds it pickled."""
    _check_names(str(folder), _names(folder))


def _names(folder: Path) -> list[str]:
    """Names in a folder; none where it is not there: the client makes none for a repository without our files."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _check_names(label: str, names: list[str]) -> None:
    if ADAPTER_CONFIG not in names:
        what = "a whole model" if "config.json" in names else "no adapter"
        raise KoreanLLMError(
            f"{label} holds {what} ({ADAPTER_CONFIG} is missing); open a whole model with AutoModelForCausalLM, or give"
            " the id of an adapter."
        )
    if ADAPTER_WEIGHTS in names:
        return
    pickles = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth")))
    if pickles:
        raise KoreanLLMError(
            f"{label} holds its weights pickled only ({pickles[0]}), and pickles are not opened; ask its owner for"
            f" {ADAPTER_WEIGHTS}, or convert it with PEFT's save_pretrained on a machine you trust."
        )
    raise KoreanLLMError(f"{label} lacks {ADAPTER_WEIGHTS}; publish the adapter again, whole.")


def _listed(repository: str, fetched: Fetched) -> list[str]:
    """Names of all files of the repository, where the Hub answers; else those that are here."""
    if constants.is_offline_mode():
        return _names(fetched.folder)
    with hub_errors(repository, _FOLDER):
        return HfApi().list_repo_files(repository, revision=fetched.revision)


def _check_content(file: Path, repository: str) -> None:
    """The cache names a large file by its SHA-256; one that has changed on the way is removed and refused."""
    blob = file.resolve()
    if _SHA256.fullmatch(blob.name) and hash_file(blob) != blob.name:
        blob.unlink()
        file.unlink(missing_ok=True)
        raise KoreanLLMError(
            f"{file.name} of {repository} was damaged on the way (its SHA-256 is not the one the Hub names); it was"
            " removed: try again."
        )
