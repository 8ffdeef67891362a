"""One extension per kind of tokenizer, shared by the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from korean_llm.modeling.load import load_tokenizer
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.byte_level import tokenizer_state
from korean_llm.vocabulary.extend import extended_state, save_tokenizer
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.stage import learn
from tests.vocabulary.tiny import KINDS, base_tokenizer, write_corpus

NEW_TOKENS = 150


@dataclass(frozen=True)
class Extension:
    """A base tokenizer, its extension as loaded from disk, and the merges between them."""

    kind: str
    base: PreTrainedTokenizerBase
    extended: PreTrainedTokenizerBase
    merges: list[Merge]
    corpus: Path


@pytest.fixture(scope="session", params=KINDS)
def extension(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Extension:
    folder = tmp_path_factory.mktemp(request.param)
    base_tokenizer(request.param).save_pretrained(folder / "base")
    corpus = write_corpus(folder / "corpus")
    base = load_tokenizer(folder / "base")
    merges, _ = learn(base, VocabularySettings(new_tokens=NEW_TOKENS), corpus, seed=1)
    save_tokenizer(extended_state(tokenizer_state(base), merges), folder / "base", folder / "extended")
    return Extension(request.param, base, load_tokenizer(folder / "extended"), merges, corpus)
