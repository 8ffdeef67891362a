"""What the benchmarks of starting rows share: new tokens learned from rulings, and text in and out of that domain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from korean_llm.corpus.documents import Document
from korean_llm.modeling.load import load_tokenizer
from korean_llm.modeling.shape import from_config
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.extension import num_rows, save
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.family import Family
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.learned import learn
from tests import real_texts

ENGLISH = ("english/hf_course_en", "english/fastapi_en", "english/cncf_glossary")


@dataclass(frozen=True)
class Texts:
    """Rulings to learn from and rulings held out, news in Korean and English (parallel), English to train on."""

    learned: list[str]
    rulings: list[str]
    news: list[str]
    english: list[str]
    english_training: list[str]

    @property
    def holdout(self) -> list[Document]:
        """As a run's corpus would hold them out: rulings and English news."""
        pairs = [("ko", self.rulings), ("en", self.english)]
        return [
            Document(f"{language}-{number}", language, language, "", text)
            for language, texts in pairs
            for number, text in enumerate(texts)
        ]


def texts(max_bytes: int) -> Texts:
    """Every n-th ruling to learn from, about max_bytes in all; others, which nothing learns from, held out."""
    rulings = [row["text"] for row in real_texts.rows("corpus/legal_precedents")]
    step = max(2, round(sum(len(text.encode()) for text in rulings) / max_bytes))
    news = list(real_texts.rows("evaluation/parallel_ntrex_200"))
    english = [row["text"] for name in ENGLISH for row in real_texts.rows(name)]
    return Texts(
        learned=rulings[::step],
        rulings=rulings[step // 2 :: step],
        news=[row["ko"] for row in news],
        english=[row["en"] for row in news],
        english_training=english,
    )


@dataclass(frozen=True)
class Extended:
    """A base tokenizer and its extension by tokens learned from rulings."""

    family: Family
    base: PreTrainedTokenizerBase
    extended: PreTrainedTokenizerBase
    merges: list[Merge]
    rows: int


def extend(model: Path, learned: list[str], new_tokens: int, out: Path) -> Extended:
    """Learn new tokens for the tokenizer in a model's folder and write the extended one to the folder out."""
    family, shape = family_of(model), from_config(model / "config.json")
    found = learn(family, learned, VocabularySettings(new_tokens=new_tokens), shape)
    rows = num_rows(family, found.merges, shape.vocabulary)
    extended = save(family, found.merges, rows, model, out)
    return Extended(family, load_tokenizer(model), extended, found.merges, rows)
