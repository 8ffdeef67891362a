"""The stage from artifacts to artifact, and every error a user can cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from korean_llm.artifact import describe_files
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.hard_texts import hard_texts
from korean_llm.vocabulary.stage import run
from tests.vocabulary.tiny import ENGLISH, KINDS, korean_documents, write_base, write_corpus

NEW = 120


def extend(base: Path, corpus: Path, out: Path, **settings: Any) -> dict[str, Any]:
    out.mkdir()
    chosen = VocabularySettings(**{"new_tokens": NEW, **settings})
    return run(chosen, {"base": base, "corpus": corpus}, out, Machine(device="cpu"), 17)


@pytest.mark.parametrize(("kind", "tied"), zip(KINDS, (True, False, False, True), strict=True))
def test_extends_a_base_that_plain_transformers_opens(kind: str, tied: bool, tmp_path: Path) -> None:
    base, corpus, out = write_base(tmp_path / "base", kind, tied=tied), write_corpus(tmp_path / "c"), tmp_path / "out"
    result = extend(base, corpus, out, initialise="mean")
    old = AutoTokenizer.from_pretrained(base / "model")
    new = AutoTokenizer.from_pretrained(out / "model")
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    before = AutoModelForCausalLM.from_pretrained(base / "model")
    assert model.config.vocab_size == len(new) == result["counts"]["vocabulary"]
    assert len(new) - len(old) - NEW == result["counts"]["padding_rows"] < 128
    assert len(new) % 128 == 0
    for table in ("get_input_embeddings", "get_output_embeddings"):
        rows, old_rows = getattr(model, table)().weight, getattr(before, table)().weight
        assert torch.equal(rows[: len(old)], old_rows)
    new_id = new("할머니는", add_special_tokens=False)["input_ids"][-1]
    assert new_id >= len(old)
    parts = [json.loads(line) for line in (out / "tokens.jsonl").read_text(encoding="utf-8").splitlines()]
    text = next(row["token"] for row in parts if row["id"] == new_id)
    constituents = [token.id for token in old.backend_tokenizer.model.tokenize(text)]
    expected = before.get_input_embeddings().weight[constituents].mean(0)
    torch.testing.assert_close(model.get_input_embeddings().weight[new_id], expected, rtol=0, atol=1e-6)
    assert torch.isfinite(model(torch.tensor([[new_id]])).logits).all()


def test_reports_tokens_and_fertility(tmp_path: Path) -> None:
    base, corpus, out = write_base(tmp_path / "base"), write_corpus(tmp_path / "corpus"), tmp_path / "out"
    result = extend(base, corpus, out)
    tokens = [json.loads(line) for line in (out / "tokens.jsonl").read_text(encoding="utf-8").splitlines()]
    vocabulary = AutoTokenizer.from_pretrained(out / "model").get_vocab()
    assert len(tokens) == NEW
    assert all(vocabulary[row["token"]] == row["id"] and row["count"] >= 2 for row in tokens)
    kinds = {kind: sum(row["kind"] == kind for row in tokens) for kind in {row["kind"] for row in tokens}}
    assert kinds == result["counts"]["kinds"]
    assert set(kinds) == {"partial UTF-8", "syllable", "word start", "word piece"}
    assert all((row["text"] is None) == (row["kind"] == "partial UTF-8") for row in tokens)

    fertility = json.loads((out / "fertility.json").read_text(encoding="utf-8"))
    assert fertility["measured_on"] == "held-out"
    assert set(fertility["sources"]) == {"tiny-ko", "tiny-en"}
    total, english = fertility["total"], fertility["sources"]["tiny-en"]
    assert total["tokens_per_eojeol"]["extended"] < total["tokens_per_eojeol"]["base"] * 0.7
    assert total["bytes_per_token"]["extended"] > total["bytes_per_token"]["base"] * 1.4
    assert english["language"] == "en"
    assert total["documents"] == 15
    proof = result["metrics"]["proof"]
    assert proof["texts"] == len(korean_documents()) + 2 * len(ENGLISH) + len(list(hard_texts()))
    assert proof["changed_ids_without_hangul"] == 0


def test_same_inputs_same_files(tmp_path: Path) -> None:
    base, corpus = write_base(tmp_path / "base"), write_corpus(tmp_path / "corpus")
    found = []
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        extend(base, corpus, tmp_path / name)
        found.append([(file.path, file.sha256) for file in describe_files(tmp_path / name)])
    assert found[0] == found[1]


def test_generation_settings_and_template_are_kept_word_for_word(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    # Odd (temperature without sampling), with defaults written out, yet published like this by some models.
    odd = '{"do_sample": false, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [1, 3]}'
    (base / "model" / "generation_config.json").write_text(odd, encoding="utf-8")
    extend(base, write_corpus(tmp_path / "corpus"), tmp_path / "out")
    for name in ("generation_config.json", "chat_template.jinja"):
        assert (tmp_path / "out/model" / name).read_bytes() == (base / "model" / name).read_bytes()
    old, new = (
        json.loads((folder / "tokenizer_config.json").read_text())
        for folder in (base / "model", tmp_path / "out/model")
    )
    assert new.pop("extended_vocabulary")["tokens"] == NEW
    assert new == old


def test_without_held_out_korean_fertility_says_where_it_was_measured(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    english = write_corpus(tmp_path / "english", korean=[])
    (english / "holdout.jsonl.gz").replace(corpus / "holdout.jsonl.gz")
    result = extend(write_base(tmp_path / "base"), corpus, tmp_path / "out")
    assert result["metrics"]["measured_on"] == "training"


def test_an_extended_base_is_refused(tmp_path: Path) -> None:
    base, corpus = write_base(tmp_path / "base"), write_corpus(tmp_path / "corpus")
    extend(base, corpus, tmp_path / "once")
    with pytest.raises(KoreanLLMError, match=f"already has {NEW} tokens of an earlier extension"):
        extend(tmp_path / "once", corpus, tmp_path / "twice")


def test_too_small_a_corpus_says_how_many_tokens_it_yields(tmp_path: Path) -> None:
    base, corpus = write_base(tmp_path / "base"), write_corpus(tmp_path / "corpus", korean=["가나다 가나다 라마바"] * 3)
    with pytest.raises(
        KoreanLLMError, match=r"asks for 5,000 tokens.*yield only (\d+) that occur at least 2"
    ) as caught:
        extend(base, corpus, tmp_path / "a", new_tokens=5000)
    count = int(str(caught.value).split("yield only ")[1].split()[0])
    assert extend(base, corpus, tmp_path / "b", new_tokens=count)["counts"]["new_tokens"] == count
    with pytest.raises(KoreanLLMError, match="yield only"):
        extend(base, corpus, tmp_path / "c", new_tokens=count + 1)


def test_a_corpus_without_korean_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    for name, korean in (("none", []), ("latin", ["no Hangul in here"] * 20)):
        with pytest.raises(KoreanLLMError, match="no Korean training text"):
            extend(base, write_corpus(tmp_path / name, korean=korean), tmp_path / f"{name}-out")
