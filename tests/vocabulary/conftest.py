"""One extension per kind of tokenizer, shared by the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from korean_llm.modeling.load import load_tokenizer
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.extension import num_rows, save
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.family import Encode, Family
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.learned import learn
from korean_llm.vocabulary.prove import Prover
from korean_llm.vocabulary.words import korean_texts
from korean_llm.vocabulary.worth import TYPICAL
from tests.vocabulary.tiny import BYTE_LEVEL, KINDS, save_base_tokenizer, write_corpus

NEW_TOKENS = 150


@dataclass(frozen=True)
class Extension:
    """A base tokenizer, its extension as loaded from disk, and the merges between them."""

    kind: str
    base: PreTrainedTokenizerBase
    extended: PreTrainedTokenizerBase
    family: Family
    merges: list[Merge]
    rows: int
    corpus: Path
    folder: Path

    @property
    def twins(self) -> tuple[Encode, Encode] | None:
        """Encoders by tokenizer.model, of base and extended."""
        old, new = (self.family.twin(self.folder / name) for name in ("base", "extended"))
        return (old, new) if old and new else None

    def prover(self, extended: PreTrainedTokenizerBase | None = None, merges: Sequence[Merge] | None = None) -> Prover:
        """A prover for this extension, or for it with something put in the place of a part."""
        return Prover(self.family, self.base, extended or self.extended, merges or self.merges, self.rows, self.twins)


def build(kind: str, folder: Path) -> Extension:
    save_base_tokenizer(kind, folder / "base")
    corpus = write_corpus(folder / "corpus")
    base = load_tokenizer(folder / "base")
    family = family_of(folder / "base")
    texts = korean_texts(corpus, 10**9, seed=1)
    merges = learn(family, texts, VocabularySettings(new_tokens=NEW_TOKENS), TYPICAL).merges
    rows = num_rows(family, merges, 0)
    extended = save(family, merges, rows, folder / "base", folder / "extended")
    return Extension(kind, base, extended, family, merges, rows, corpus, folder)


@pytest.fixture(scope="session", params=KINDS)
def extension(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Extension:
    return build(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session", params=BYTE_LEVEL)
def byte_level(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Extension:
    return build(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Extension:
    return build("llama", tmp_path_factory.mktemp("sentencepiece"))
