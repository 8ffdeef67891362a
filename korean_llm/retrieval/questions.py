"""A question set made from the corpus itself, for an index whose users' questions are not known yet.

Without a language model a question is what someone half remembers of a passage: four to eight content words of one of
its sentences, without their particles and in another order. Such questions favour the lexical arm, because their words
stand in the text; a language model asks in words of its own, and its questions are to be preferred.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.kiwi import analyse, sentences
from korean_llm.retrieval.analyzer import CONTENT, LIGHT_VERBS
from korean_llm.retrieval.beir import Question
from korean_llm.retrieval.expand import LanguageModel
from korean_llm.retrieval.index import Document, Index

_WORDS = (4, 8)
_SEED = 17
_PASSAGE_CHARS = 600


def from_corpus(index: Index, count: int, model: LanguageModel | None = None) -> list[Question]:
    """Up to `count` questions on documents drawn at random, each with its document as the right one.

    Raises KoreanLLMError where no document has a sentence of four content words.
    """
    dice = random.Random(_SEED)
    drawn = dice.sample(range(len(index.documents)), min(len(index.documents), 2 * count))
    found: list[Question] = []
    for number in console.progress(drawn, "making questions"):
        document = index.documents[number]
        text = _asked(document, model) if model else _remembered(document, dice)
        if text:
            found.append(Question(f"made-{len(found):04}", text, {document.id: 1}))
        if len(found) == count:
            break
    if not found:
        raise KoreanLLMError(
            f"no document of {index.folder} has a sentence to make a question of; give --questions SET."
        )
    return found


def _asked(document: Document, model: LanguageModel) -> str:
    return model.ask(f"{document.title}\n{document.text[:_PASSAGE_CHARS]}")


def _remembered(document: Document, dice: random.Random) -> str:
    """Words of one sentence of the document, without particles, in another order; "" where none is long enough."""
    spans = sentences(document.text[: 10 * _PASSAGE_CHARS])
    for start, end in dice.sample(spans, min(len(spans), 5)):
        words = list(dict.fromkeys(_content(document.text[start:end])))
        if len(words) >= _WORDS[0]:
            return " ".join(dice.sample(words, dice.randint(_WORDS[0], min(len(words), _WORDS[1]))))
    return ""


def _content(sentence: str) -> Iterator[str]:
    for form, tag, _ in next(analyse([sentence])):
        if tag in CONTENT and tag not in ("VV", "VA") and form not in LIGHT_VERBS:
            yield form
