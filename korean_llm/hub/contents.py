"""Which files are published: weights in safetensors (and GGUF), settings, tokenizer, template, recipe, manifests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants

from korean_llm import console
from korean_llm.artifact import MANIFEST
from korean_llm.errors import KoreanLLMError
from korean_llm.hub.fetch import SETTINGS, WEIGHTS, hub_id
from korean_llm.hub.identity import ADAPTER_CONFIG, BASE, Base, read_json, weights_print
from korean_llm.hub.lineage import Lineage
from korean_llm.hub.refusals import hub_errors

CARD = "README.md"
RECIPE = "recipe.yaml"
MANIFESTS = "manifests"
OURS = (*SETTINGS, *WEIGHTS, "*.gguf", CARD, RECIPE, f"{MANIFESTS}/*.json")
"""What a push may write, and so what a later push into the same repository replaces or takes away."""

_SECRET = re.compile(r"\b(hf_|sk-|ghp_)[A-Za-z0-9_-]{16,}|://[^\s/:@]+:[^\s/@]+@")

Content = Path | bytes


@dataclass(frozen=True)
class Contents:
    """Path in the repository → a file of the run, or bytes made for it; base: what an adapter stands on."""

    files: dict[str, Content]
    base: Base | None

    def size(self, name: str) -> int:
        """Bytes of one file."""
        content = self.files[name]
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def gather(lineage: Lineage, base: str | None) -> Contents:
    """Everything but the card. base: Hub id of an adapter's base, where the run itself cannot know it.

    Raises KoreanLLMError where an adapter's base is not published, there is no safetensors file, or a secret is found.
    """
    found = published_base(lineage, base) if lineage.is_adapter else None
    folder = lineage.folder / ("adapter" if lineage.is_adapter else "model")
    files: dict[str, Content] = {path.name: path for path in sorted(folder.glob("*")) if _published(path)}
    if not any(name.endswith(".safetensors") for name in files):
        raise KoreanLLMError(
            f"{lineage.folder} holds no model in safetensors; add safetensors to export.formats and run it again."
        )
    files |= {path.name: path for path in sorted(lineage.folder.glob("*.gguf"))}
    if found:
        files[ADAPTER_CONFIG] = _renamed_base(folder / ADAPTER_CONFIG, found)
        files[BASE] = _json(found.as_dict())
    files[RECIPE] = lineage.text.encode()
    measured = ["evaluation"] if lineage.evaluation else []
    for stage in (*lineage.manifests, *measured):
        files[f"{MANIFESTS}/{stage}.json"] = (lineage.run / stage / MANIFEST).read_bytes()
    for name, content in files.items():
        if isinstance(content, bytes):
            refuse_secrets(name, content.decode("utf-8"))
    return Contents(files, found)


def refuse_secrets(name: str, text: str) -> None:
    """Raises KoreanLLMError where a text holds what looks like a token or a password; it is never printed."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _SECRET.search(line):
            raise KoreanLLMError(
                f"{name}, line {number}, holds what looks like a token or a password, and would be published; take"
                " it out of the recipe and run again."
            )


def published_base(lineage: Lineage, given: str | None) -> Base:
    """Where the model an adapter stands on is published, verified file by file against what the Hub lists.

    Raises KoreanLLMError, with the command that publishes it, where it is not, or is another model.
    """
    stage = lineage.model_stage
    named = given or _origin(lineage, stage)
    found = hub_id(named) if named else None
    if found is None:
        problem = (
            f"{given!r} is no Hub id" if given else f"its base, {lineage.run / stage / 'model'}, has no Hub id yet"
        )
        raise KoreanLLMError(
            f"the {lineage.stage} adapter cannot be published: {problem}; publish the base with `korean-llm push"
            f" {lineage.run} --stage {stage} --to org/name`, then give that id with --base org/name."
        )
    folder = lineage.run / stage / "model"
    vocabulary = (read_json(folder / "config.json") or {})["vocab_size"]
    return Base(found[0], _verified(lineage, stage, *found), vocabulary, weights_print(folder))


def _origin(lineage: Lineage, stage: str) -> str | None:
    """The Hub id of a base that is used as it came from the Hub."""
    manifest = lineage.manifests[stage]
    if stage != "base" or manifest.metrics.get("home") != "hub":
        return None
    settings: dict[str, Any] = manifest.settings
    return f"{settings['hub']}@{settings['revision']}"


def _verified(lineage: Lineage, stage: str, repository: str, revision: str | None) -> str | None:
    """The commit at which a repository holds exactly the run's weights; offline the revision as given, with a note."""
    if constants.is_offline_mode():
        console.note(f"{repository} was not compared with {stage}: HF_HUB_OFFLINE is set; who loads it will compare")
        return revision
    instead = "set HF_HUB_OFFLINE=1 to publish to a folder without asking it"
    with hub_errors(repository, instead):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    theirs = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs}
    for file in lineage.manifests[stage].files:
        name = file.path.removeprefix("model/")
        if file.path == f"model/{name}" and fnmatch(name, WEIGHTS[0]) and theirs.get(name) != file.sha256:
            raise KoreanLLMError(
                f"{repository} is not the model the adapter was trained on: its {name} is"
                f" {theirs.get(name, 'missing')[:12]}, that of {lineage.run / stage} {file.sha256[:12]}; publish that"
                f" with `korean-llm push {lineage.run} --stage {stage} --to {repository}`."
            )
    return info.sha


def _published(path: Path) -> bool:
    return path.is_file() and any(fnmatch(path.name, pattern) for pattern in (*SETTINGS, *WEIGHTS))


def _renamed_base(config: Path, base: Base) -> bytes:
    """adapter_config.json with the base's Hub id in the place of a local path, pinned where the commit is known."""
    return _json({**(read_json(config) or {}), "base_model_name_or_path": base.hub, "revision": base.revision})


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
