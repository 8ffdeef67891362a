"""The folder a run stands in: whose it is, one run in it at a time, and one sentence where it cannot be written."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from korean_llm.errors import KoreanLLMError
from korean_llm.settings import read_yaml

RECIPE_COPY = "recipe.yaml"
_LOCK = ".lock"
_ASIDE = f"{RECIPE_COPY}.new"

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
# What libraries say that pass no errno on: safetensors, tokenizers and faiss; torch.save; numpy.save.
_DISK_WORDS = (
    "No space left on device",
    "File too large",
    "Disk quota exceeded",
    "os error 28",
    "os error 27",
    "failed writing file",
    "unexpected pos ",
    " requested and ",
)


@contextmanager
def opened(folder: Path, name: str, text: str) -> Iterator[None]:
    """Hold a run folder for one run of the recipe `name`; the recipe's text is kept in it, word for word.

    The lock goes with the process, also when it is killed. Raises KoreanLLMError where the folder cannot be
    written, holds something else or a run of another recipe, or another run works in it.
    """
    with _unwritable(folder):
        _check_ours(folder, name)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w", encoding="utf-8")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KoreanLLMError(f"another korean-llm run is working in {folder}; wait for it or use --out.") from None
        with _unwritable(folder):
            _check_ours(folder, name)  # once more: another run may have come first
            (folder / _ASIDE).write_text(text, encoding="utf-8")
            (folder / _ASIDE).replace(folder / RECIPE_COPY)
        yield


def _check_ours(folder: Path, name: str) -> None:
    copy = folder / RECIPE_COPY
    if copy.exists():
        other = _name_of(copy)
        if other != name:
            raise KoreanLLMError(
                f"{folder} holds a run of the recipe {other!r}, not of {name!r}; choose another folder with --out."
            )
    elif folder.exists() and not _is_bare(folder):
        raise KoreanLLMError(f"{folder} exists and is not a run of korean-llm; choose another folder with --out.")


def _is_bare(folder: Path) -> bool:
    """Whether the folder holds nothing but what a run leaves that was killed as it began."""
    return folder.is_dir() and all(path.name in (_LOCK, _ASIDE) for path in folder.iterdir())


def _name_of(copy: Path) -> str:
    """The name in a run's copy of its recipe; whether the rest is still a valid recipe does not matter here."""
    recipe = read_yaml(copy)
    if not isinstance(recipe, dict) or "name" not in recipe:
        raise KoreanLLMError(f"{copy} is damaged (it has no name); put the run's recipe there again, or use --out.")
    return str(recipe["name"])


@contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KoreanLLMError(
            f"the run folder {folder} cannot be written ({error.strerror}); choose another one with --out."
        ) from None


@contextmanager
def disk_errors(stage: str, folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into one sentence; what stood before stays."""
    try:
        yield
    except KoreanLLMError:
        raise
    except Exception as error:
        if not _of_the_disk(error):
            raise
        raise KoreanLLMError(
            f"stage {stage!r} could not write to {folder}: {' '.join(str(error).split())}; free some space or choose"
            " another folder with --out, then run the same command again (finished stages are kept)."
        ) from error


def _of_the_disk(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return True
    return any(word in str(error) for word in _DISK_WORDS)
