"""The figures asked for, on real Korean text where it lies beside the checkout."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from korean_llm.machine import Machine
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.stage import run
from tests.vocabulary.tiny import write_base

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"
SOURCES = ("legal_precedents", "msdocs_human_translated", "literature")


def read(name: str, start: int, end: int) -> dict[str, str]:
    """Bytes start to end of a data set's texts, as one document."""
    texts, size = [], 0
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        while size < end:
            texts.append(json.loads(next(file))["text"])
            size += len(texts[-1].encode())
    text = "\n".join(texts).encode()[start:end].decode(errors="ignore")
    return {"id": f"{name}-{start}", "source": name, "language": "ko", "title": "", "text": text}


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="the real Korean data set folder is not beside the checkout")
def test_2000_tokens_from_400_kb_reach_the_bar(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    out.mkdir()
    for part, start, end in (("train", 60_000, 193_000), ("holdout", 0, 60_000)):
        with gzip.open(corpus / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(read(name, start, end), ensure_ascii=False) + "\n" for name in SOURCES)
    (corpus / "shares.json").write_text(json.dumps(dict.fromkeys(SOURCES, 1 / len(SOURCES))), encoding="utf-8")
    inputs = {"base": write_base(tmp_path / "base"), "corpus": corpus}
    result = run(VocabularySettings(new_tokens=2000), inputs, out, Machine(device="cpu"), 17)
    assert result["counts"]["learned_from_bytes"] < 400_000
    assert result["metrics"]["tokens_per_eojeol"]["base"] > 7
    assert result["metrics"]["tokens_per_eojeol"]["extended"] <= 3.6
    assert result["metrics"]["proof"]["segments_without_hangul"] > 500
