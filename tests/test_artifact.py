"""Artifacts: a manifest means complete, damage is named, and a kill between two renames loses nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from korean_llm import artifact
from korean_llm.artifact import MANIFEST, PARTIAL, Manifest, begin, describe_files, finish, load_manifest, problems
from korean_llm.errors import KoreanLLMError

IDENTITY = {"kind": "corpus", "settings": {"a": 1}, "inputs": {"base": "f0"}, "seed": 17}


def build(folder: Path, text: str = "하나", **fields: object) -> Manifest:
    """A finished artifact of two files and a log."""
    out = begin(folder, IDENTITY)
    (out / "deep").mkdir()
    (out / "train.txt").write_text(text, encoding="utf-8")
    (out / "deep" / "more.bin").write_bytes(bytes(range(256)))
    (out / "metrics.jsonl").write_text('{"time_s": 1.0}\n', encoding="utf-8")
    manifest = Manifest(
        **{**IDENTITY, "files": describe_files(out), "counts": {"documents": 3}, "metrics": {"bits": 1.25}, **fields}
    )
    finish(folder, manifest)
    return manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path / "corpus")
    return tmp_path / "corpus"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_finished_is_read_back(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest is not None
    assert [file.path for file in manifest.files] == ["deep/more.bin", "metrics.jsonl", "train.txt"]
    assert manifest.counts == {"documents": 3} and manifest.metrics == {"bits": 1.25}
    assert problems(folder, manifest) == [] and problems(folder, manifest, thorough=False) == []
    assert sorted(path.name for path in folder.parent.iterdir()) == ["corpus"]
    assert not (folder / PARTIAL).exists()


def test_the_manifest_comes_last(tmp_path: Path) -> None:
    out = begin(tmp_path / "corpus", IDENTITY)
    (out / "train.txt").write_text("하나", encoding="utf-8")
    assert out.name == "corpus.partial"
    assert load_manifest(out) is None and load_manifest(tmp_path / "corpus") is None
    artifact.recover(tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists(), "without a manifest nothing is complete"
    finish(tmp_path / "corpus", Manifest(**IDENTITY, files=describe_files(out)))
    newest = max((tmp_path / "corpus").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == MANIFEST


def test_a_rebuilt_artifact_replaces_the_old_one_whole(folder: Path) -> None:
    old = load_manifest(folder)
    begin(folder, IDENTITY)
    assert load_manifest(folder) == old, "the old one stands until the new one is complete"
    new = build(folder, "둘")
    assert load_manifest(folder) == new
    assert (folder / "train.txt").read_text(encoding="utf-8") == "둘"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (lambda folder: flip(folder / "deep" / "more.bin"), "deep/more.bin is damaged: its SHA-256 differs"),
        (lambda folder: (folder / "train.txt").write_bytes(b"x"), "train.txt is damaged: 1 bytes, its manifest says 6"),
        (lambda folder: (folder / "train.txt").unlink(), "train.txt is missing"),
        (lambda folder: shutil.rmtree(folder / "deep"), "deep/more.bin is missing"),
        (lambda folder: (folder / "deep" / "new").write_bytes(b""), "deep/new is not in the manifest"),
    ],
    ids=["flipped", "shortened", "missing", "folder gone", "extra"],
)
@pytest.mark.parametrize("thorough", [True, False])
def test_damage_is_named(folder: Path, hurt: Callable[[Path], None], words: str, thorough: bool) -> None:
    manifest = load_manifest(folder)
    assert manifest is not None
    hurt(folder)
    (line,) = problems(folder, manifest, thorough=thorough)
    assert line.startswith(str(folder)) and words in line


def test_every_problem_is_named_at_once(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest is not None
    flip(folder / "train.txt")
    (folder / "deep" / "more.bin").unlink()
    (folder / "extra").write_text("", encoding="utf-8")
    assert len(problems(folder, manifest)) == 3


def test_only_a_thorough_look_reads_files_that_seem_untouched(folder: Path) -> None:
    manifest, path = load_manifest(folder), folder / "train.txt"
    assert manifest is not None
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert problems(folder, manifest, thorough=False) == []
    assert "SHA-256 differs" in problems(folder, manifest)[0]


def test_a_touched_file_is_hashed_and_found_whole(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest is not None
    os.utime(folder / "train.txt", ns=(1, 1))
    assert problems(folder, manifest, thorough=False) == []


def test_any_damaged_byte_of_a_manifest_is_noticed(folder: Path) -> None:
    path = folder / MANIFEST
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        with pytest.raises(KoreanLLMError, match=r"manifest\.json (is damaged|was written by another).*--force"):
            load_manifest(folder)
    path.write_bytes(whole)
    assert load_manifest(folder) is not None


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema": 1}', '{"schema": 99, "files": []}'])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"manifest\.json"):
        load_manifest(folder)


def test_the_fingerprint_stands_for_the_work_alone(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest is not None
    same = {
        "start": "2020-01-01",
        "seconds": 99.0,
        "device": "another",
        "git_commit": "c0ffee",
        "versions": {"torch": "0.1"},
        "counts": {},
        "metrics": {},
        "files": [replace(file, mtime_ns=0) for file in manifest.files if file.path != "metrics.jsonl"],
    }
    assert {replace(manifest, **{key: value}).fingerprint for key, value in same.items()} == {manifest.fingerprint}
    other = {
        "kind": "base",
        "settings": {"a": 2},
        "inputs": {"base": "f1"},
        "seed": 18,
        "files": [replace(manifest.files[0], sha256="0" * 64), *manifest.files[1:]],
    }
    changed = {replace(manifest, **{key: value}).fingerprint for key, value in other.items()}
    assert len(changed | {manifest.fingerprint}) == len(other) + 1
    assert replace(manifest, files=[replace(f, path=f"x{f.path}") for f in manifest.files]).fingerprint not in changed


def test_the_fingerprint_is_written_beside_what_it_stands_for(folder: Path) -> None:
    written = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest = load_manifest(folder)
    assert manifest is not None
    assert written["fingerprint"] == manifest.fingerprint
    assert {key: written[key] for key in asdict(manifest)} == json.loads(json.dumps(asdict(manifest)))


def interrupted(folder: Path, step: int) -> None:
    """The state on disk when a process is killed after `step` actions of putting a new artifact in the old one's place.

    The actions, one by one: old → .old, the note removed, .partial → in place, .old removed file by file.
    """
    partial, retired = artifact.partial_folder(folder), folder.with_name("corpus.old")
    actions: list[Callable[[], object]] = [
        lambda: folder.rename(retired),
        lambda: (partial / PARTIAL).unlink(),
        lambda: partial.rename(folder),
        lambda: (retired / MANIFEST).unlink(),
        lambda: shutil.rmtree(retired / "deep"),
    ]
    for act in actions[:step]:
        act()


def finished_beside(folder: Path) -> Manifest:
    """Put a finished partial folder beside an artifact, as it stands before the first rename."""
    new = build(folder.parent / "elsewhere" / "corpus", "new")
    (folder.parent / "elsewhere" / "corpus").rename(artifact.partial_folder(folder))
    (folder.parent / "elsewhere").rmdir()
    artifact.write_json(artifact.partial_folder(folder) / PARTIAL, IDENTITY)
    return new


@pytest.mark.parametrize("step", range(6))
def test_an_interrupted_rename_is_finished(folder: Path, step: int) -> None:
    new = finished_beside(folder)
    interrupted(folder, step)
    for _ in range(2):  # recovering twice changes nothing
        artifact.recover(folder)
        assert load_manifest(folder) == new
        assert problems(folder, new) == []
        assert contents(folder)["train.txt"] == b"new"
        assert [path.name for path in folder.parent.iterdir()] == ["corpus"]


def test_what_an_earlier_kill_left_is_cleared_away(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("corpus.old"))
    new = finished_beside(folder)
    artifact.recover(folder)
    assert load_manifest(folder) == new
    assert [path.name for path in folder.parent.iterdir()] == ["corpus"]


def test_an_old_artifact_without_a_new_one_comes_back(folder: Path) -> None:
    known = load_manifest(folder)
    folder.rename(folder.with_name("corpus.old"))
    artifact.recover(folder)
    assert load_manifest(folder) == known


def leave_partial(folder: Path) -> Path:
    """What a killed stage with checkpoints leaves."""
    out = begin(folder, IDENTITY, keep="checkpoints")
    (out / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (out / "checkpoints" / "checkpoint-3" / "state").write_text("3", encoding="utf-8")
    (out / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    (out / "model").mkdir()
    (out / "model" / "half.safetensors").write_text("", encoding="utf-8")
    (out / "half.json.new").write_text("", encoding="utf-8")
    return out


def test_checkpoints_are_kept_for_the_same_work(tmp_path: Path) -> None:
    out = leave_partial(tmp_path / "pretraining")
    again = begin(tmp_path / "pretraining", json.loads(json.dumps(IDENTITY)), keep="checkpoints")
    assert again == out
    assert set(contents(out)) == {"checkpoints/checkpoint-3/state", "metrics.jsonl", PARTIAL}


@pytest.mark.parametrize("key", sorted(IDENTITY))
def test_checkpoints_of_other_work_are_not(tmp_path: Path, key: str) -> None:
    out = leave_partial(tmp_path / "pretraining")
    begin(tmp_path / "pretraining", {**IDENTITY, key: "another"}, keep="checkpoints")
    assert set(contents(out)) == {PARTIAL}


@pytest.mark.parametrize("note", [None, "", "{"])
def test_nor_where_it_is_not_known_whose_they_are(tmp_path: Path, note: str | None) -> None:
    out = leave_partial(tmp_path / "pretraining")
    (out / PARTIAL).unlink()
    if note is not None:
        (out / PARTIAL).write_text(note, encoding="utf-8")
    begin(tmp_path / "pretraining", IDENTITY, keep="checkpoints")
    assert set(contents(out)) == {PARTIAL}


def test_a_stage_that_cannot_resume_starts_again(tmp_path: Path) -> None:
    out = leave_partial(tmp_path / "vocabulary")
    begin(tmp_path / "vocabulary", IDENTITY)
    assert set(contents(out)) == {PARTIAL}


class Killed(BaseException):
    """Stands for kill -9 between two removals."""


@pytest.mark.parametrize("removals", [1, 2])
def test_a_kill_while_old_files_are_cleared_away_keeps_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removals: int
) -> None:
    """The note that says whose the checkpoints are must outlive the clearing."""
    out = leave_partial(tmp_path / "pretraining")
    done: list[str] = []

    def dying(remove: Callable[..., None]) -> Callable[..., None]:
        def act(path: Path) -> None:
            remove(path)
            done.append(Path(path).name)
            if len(done) == removals:
                raise Killed

        return act

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        begin(tmp_path / "pretraining", IDENTITY, keep="checkpoints")
    assert set(done) <= {"model", "half.json.new"}
    begin(tmp_path / "pretraining", IDENTITY, keep="checkpoints")
    assert set(contents(out)) == {"checkpoints/checkpoint-3/state", "metrics.jsonl", PARTIAL}
