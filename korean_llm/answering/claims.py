"""The part of a passage that a claim rests on, or none: numbers, names, polarity and content have to be there.

A claim is what stands before a mark such as [2]. It may be worded otherwise than its source, so this is a necessary
condition, checked strictly, and no proof: a claim whose numbers, times, names or denials differ is never cited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from korean_llm.answering.answer import Citation, Piece
from korean_llm.answering.cite import verified
from korean_llm.answering.polarity import agree
from korean_llm.answering.quantities import is_number, quantities, time_words
from korean_llm.answering.scoring import lexical_scores
from korean_llm.kiwi import analyse, sentences
from korean_llm.retrieval import Index
from korean_llm.retrieval.analyzer import morpheme_terms

MIN_SHARE = 0.6
"""Share of a claim's content terms that the part cited, or the document's title, has to hold."""

_NAMES = frozenset({"NNP", "SL", "SH"})
_QUOTE = re.compile(r"[“\"'‘「『]([^“”\"'‘’「」『』\n]{6,300})[”\"'’」』]")
_LETTER = re.compile(r"\w")
_MARK = "\ufffc"
_MARK_AFTER_END = re.compile(rf"([.!?。]+)((?:\s*{_MARK})+)")
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+")

Span = tuple[int, int]


class Sources:
    """The passages that a model was given, and what of them its claims rest on."""

    def __init__(self, index: Index, passages: Mapping[int, Citation]) -> None:
        """passages: verified, by the number that the model knows them by; more may be added later."""
        self._index, self._passages = index, passages
        self._sentences: dict[int, list[Span]] = {}

    def cite(self, claim: str, number: int) -> Citation | None:
        """The narrowest part of passage `number` that the claim rests on, as verified citation.

        A quotation in the claim comes first, then a sentence, then two adjacent ones. None where there is no such
        passage, or nothing in it holds what the claim says.
        """
        passage = self._passages.get(number)
        if passage is None or not _LETTER.search(claim):
            return None
        spans = self._spans(passage)
        for start, end in _candidates(claim, passage.text, spans):
            if supports(claim, passage.text[start:end], passage.title):
                place = passage.start + start, passage.start + end
                return verified(self._index, number, passage.document_id, *place, passage.text[start:end])
        return None

    def _spans(self, passage: Citation) -> list[Span]:
        if passage.number not in self._sentences:
            self._sentences[passage.number] = sentences(passage.text)
        return self._sentences[passage.number]


def _candidates(claim: str, text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """Quotations that stand in the text, then its sentences, then pairs of them, each kind best first."""
    for match in _QUOTE.finditer(claim):
        if (at := text.find(match[1])) >= 0:
            yield at, at + len(match[1])
    pairs = [(start, end) for (start, _), (_, end) in pairwise(spans)]
    for kind in (spans, pairs):
        scores = lexical_scores(claim, [text[start:end] for start, end in kind])
        for at in sorted(range(len(kind)), key=lambda at: -scores[at]):
            yield kind[at]


def supports(claim: str, part: str, title: str) -> bool:
    """Whether a part of a document holds what a claim says: its numbers, times, names, denials and most of its words.

    All but the denials may stand in the title too.
    """
    known = list(quantities(f"{title}\n{part}"))
    return (
        all(any(asked.fits(one) for one in known) for asked in quantities(claim))
        and time_words(claim) <= time_words(f"{title}\n{part}")
        and all(name in f"{title}\n{part}".lower() for name in _names(claim))
        and _share(claim, part, title) >= MIN_SHARE
        and agree(claim, part)
    )


def _names(claim: str) -> set[str]:
    return {form.lower() for form, tag, _ in next(iter(analyse([claim]))) if tag in _NAMES}


def _share(claim: str, part: str, title: str) -> float:
    """Share of the claim's content terms that the part holds, without numbers, which have been looked for by value.

    Terms of the title are left out too, unless the claim has no others.
    """
    said, held, titled = (set(terms) for terms in morpheme_terms([claim, part, title]))
    said = {term for term in said if not is_number(term)}
    said = {term for term in said if not _stands(term, titled, title)} or said
    return sum(_stands(term, held, part) for term in said) / len(said) if said else 0.0


def _stands(term: str, terms: set[str], text: str) -> bool:
    """Whether a text has a term, by itself or inside a longer word."""
    return term in terms or (len(term) > 1 and term in text.lower())


def unsupported(pieces: Iterable[Piece]) -> tuple[str, ...]:
    """The sentences of an answer that carry no citation; a mark after a full stop belongs to the sentence before it."""
    text = "".join(_MARK if piece.citation else piece.text for piece in pieces)
    text = _MARK_AFTER_END.sub(r"\2\1", text)
    found = (sentence.strip() for sentence in _SENTENCE_END.split(text))
    return tuple(sentence for sentence in found if _MARK not in sentence and _LETTER.search(sentence))
