"""Publish a run's model or adapter to the Hub, in one commit, or to a folder laid out the same way."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.hub.card import render_card
from korean_llm.hub.contents import CARD, OURS, Content, Contents, gather
from korean_llm.hub.fetch import hub_id
from korean_llm.hub.lineage import Lineage, trace
from korean_llm.hub.refusals import hub_errors

_AGAIN = "run the same command again: what is uploaded already is not sent twice"


@dataclass(frozen=True)
class Pushed:
    """What was published, or would be.

    Attributes:
        place: Hub id or folder.
        stage: the stage whose artifact it is.
        files: path in the repository → bytes.
        revision: the commit; None for a folder or a dry run.
        url: where the commit can be seen; "" for a folder or a dry run.
    """

    place: str
    stage: str
    files: dict[str, int]
    revision: str | None = None
    url: str = ""


def push(
    what: str | Path,
    to: str | Path,
    *,
    stage: str | None = None,
    base: str | None = None,
    licence: str | None = None,
    private: bool = True,
    branch: str | None = None,
    dry_run: bool = False,
) -> Pushed:
    """Publish an artifact of a run with its card, recipe and manifests; safetensors (and GGUF) only.

    Args:
        what: run folder, or the folder of one of its artifacts.
        to: a Hub id "org/name", or a Path: a folder, new or empty.
        stage: which artifact of a run; by default the export, else the newest adapter, else the newest model.
        base: Hub id of an adapter's base; it is compared with the run's own model.
        licence: the Hub's name of the licence, such as apache-2.0; without one the card says it is not verified.
        branch: branch of the repository; made where there is none.

    The token is the one huggingface_hub finds (HF_TOKEN, `hf auth login`). Raises KoreanLLMError where the artifact
    is damaged or out of date, an adapter's base is not published, or the Hub refuses.
    """
    found = hub_id(to)
    if isinstance(to, str) and (found is None or found[1]):
        raise KoreanLLMError(f"{to!r} is no Hub id; expected org/name, or for a folder a Path (--to-folder DIR).")
    if found and not dry_run:
        _check_token()
    lineage = trace(Path(what), stage)
    contents = gather(lineage, base)
    place = str(to) if isinstance(to, str) else to.resolve().name
    contents.files[CARD] = render_card(lineage, contents, place, licence).encode()
    done = Pushed(str(to), lineage.stage, {name: contents.size(name) for name in sorted(contents.files)})
    if dry_run:
        return done
    if isinstance(to, Path):
        _write(contents, to)
        return done
    commit = _upload(lineage, contents, to, private=private, branch=branch)
    return Pushed(done.place, done.stage, done.files, commit.oid, commit.commit_url)


def _write(contents: Contents, folder: Path) -> None:
    """Write beside the folder, then rename: it is whole or not there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KoreanLLMError(f"{folder} is not empty; give a new folder with --to-folder.")
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for name, content in console.progress(contents.files.items(), "copying"):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (aside / name).write_bytes(content)
            else:
                shutil.copyfile(content, aside / name)
        aside.replace(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise KoreanLLMError(f"{folder} cannot be written ({error.strerror}); give another --to-folder.") from None


def _upload(lineage: Lineage, contents: Contents, repository: str, *, private: bool, branch: str | None) -> Any:
    """One commit that makes the branch hold these files; files of an earlier push that are no longer made go."""
    api = HfApi()
    with hub_errors(repository, _AGAIN), console.working(f"publishing to {repository}"):
        api.whoami()
        api.create_repo(repository, private=private, exist_ok=True)
        info = api.model_info(repository)
        if private and info.private is False:
            raise KoreanLLMError(
                f"{repository} exists and is public; push with --public, or to a repository that is not there yet."
            )
        if info.private and not private:
            console.note(f"{repository} exists and stays private; open it on its page of the Hub")
        if branch:
            api.create_branch(repository, branch=branch, exist_ok=True)
        there = api.list_repo_files(repository, revision=branch)
        gone = [name for name in there if name not in contents.files and any(fnmatch(name, part) for part in OURS)]
        operations = [_addition(name, content) for name, content in contents.files.items()]
        return api.create_commit(
            repository,
            [*operations, *(CommitOperationDelete(name) for name in gone)],
            commit_message=f"{lineage.recipe.name}: {lineage.stage} {lineage.manifest.fingerprint[:12]}",
            revision=branch,
        )


def _addition(name: str, content: Content) -> CommitOperationAdd:
    return CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))


def _check_token() -> None:
    if constants.is_offline_mode():
        raise KoreanLLMError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it, or use --to-folder DIR.")
    if get_token() is None:
        raise KoreanLLMError("no token for the Hub was found; sign in with `hf auth login`, or set HF_TOKEN.")
