"""Milvus (Lite, in this process) finds what the local index finds, and ingestion goes on where it stopped."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from korean_llm.retrieval import Index, Options, milvus
from tests.retrieval.conftest import DOCUMENTS
from tests.retrieval.test_growth import QUESTIONS, document

pytest.importorskip("pymilvus", reason="extra `milvus` is not installed")
pytest.importorskip("milvus_lite", reason="extra `milvus` is not installed")


def top(index: Index) -> list[list[tuple[str, int]]]:
    return [[(hit.document_id, hit.start) for hit in index.search(question) if hit.score > 0] for question in QUESTIONS]


def test_milvus_finds_what_the_local_index_finds_and_follows_its_growth(encoder: Path, tmp_path: Path) -> None:
    dice = random.Random(4)
    rows = [*DOCUMENTS, *(document(f"d{n}", dice) for n in range(40))]
    options = Options(milvus=str(tmp_path / "lite.db"), small_chars=60)
    remote = Index.build(rows[:30], tmp_path / "remote", encoder=encoder, options=options)
    local = Index.build(rows[:30], tmp_path / "local", encoder=encoder, options=replace(options, milvus=None))
    assert top(remote) == top(local)
    assert remote.sync() == 0, "nothing is left to do"
    done = json.loads((tmp_path / "remote" / "milvus.json").read_text(encoding="utf-8"))
    half = dict.fromkeys(done["done"], 10)
    (tmp_path / "remote" / "milvus.json").write_text(json.dumps({**done, "done": half}), encoding="utf-8")
    assert remote.sync() > 0, "it goes on from the tenth row"
    assert top(remote) == top(local)
    for index in (remote, local):
        index.add(rows[30:])
        index.delete(["d3", "library"])
        index.compact()
    assert top(remote) == top(local)
    assert milvus.PROGRESS in {path.name for path in (tmp_path / "remote").iterdir()}
