"""`initialise: auto`: every way to start new rows, measured on the user's own hold-out; the best one is kept.

Bits per byte of Korean decide, and a way that costs English is not eligible. First all ways as they start; then the
best few after a short training of the new rows alone, on equal text with equal settings. The winner is the finalist
that is best after that training; the model is left with its rows as they start, untrained.

A tied model has one table and one way; an untied one chooses the embedding's rows first, heads started with the mean,
then the head's with that embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.corpus.documents import Document
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.measure.bits import bits_per_byte
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.rows import distinct_tables, extend_rows, grow, tied
from korean_llm.vocabulary.starts import METHODS, Start, StartContext
from korean_llm.vocabulary.starts.context import spread
from korean_llm.vocabulary.trial import TRIAL_TOKENS, train_rows

HOLDOUT_BYTES = {"ko": 16_000, "en": 8_000}
"""Hold-out text that every way is measured on, at most, by language."""
TRIAL_BYTES = 64_000
"""Training text that the short training of new rows chooses from."""
FINALISTS = 3
MAX_ENGLISH_RISE = 0.005
"""Relative rise of English bits per byte over the base from which a way may not win."""


@dataclass(frozen=True)
class TournamentResult:
    """What was tried and what won.

    Attributes:
        inputs, outputs: the winner for the embedding's and the head's rows; the same for a tied model.
        table: one row per way that was tried, the unextended base first; see `Row.plain`.
        caps: bytes and tokens that were measured on and trained with.
    """

    inputs: Start
    outputs: Start
    table: list[dict[str, Any]]
    caps: dict[str, int]


@dataclass
class Row:
    """One way and its figures, in bits per byte."""

    inputs: Start
    outputs: Start
    ko: float
    en: float | None
    eligible: bool
    ko_trained: float | None = None
    en_trained: float | None = None

    def plain(self, base_ko: float) -> dict[str, Any]:
        """As JSON: names, Korean and English bits per byte as started and trained, Korean against the base."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "ko_bits_per_byte": _rounded(self.ko),
            "en_bits_per_byte": _rounded(self.en),
            "ko_against_base": _rounded(self.ko / base_ko - 1),
            "ko_bits_per_byte_trained": _rounded(self.ko_trained),
            "en_bits_per_byte_trained": _rounded(self.en_trained),
            "eligible": self.eligible,
        }


def tournament(
    model: PreTrainedModel,
    base_tokenizer: PreTrainedTokenizerBase,
    extended_tokenizer: PreTrainedTokenizerBase,
    merges: Sequence[Merge],
    num_rows: int,
    context: StartContext,
    train_texts: Sequence[str],
    holdout_documents: Iterable[Document],
    machine: Machine,
    seed: int,
) -> TournamentResult:
    """Try every way to start the new rows and leave the model extended with the best one.

    Args:
        model: the base, not extended yet; it is moved to the machine's device.
        merges: the new tokens.
        num_rows: rows of the grown tables.
        context: see starts.context.build_context.
        train_texts: Korean training texts for the short training of new rows; openings of evenly spaced ones are read.
        holdout_documents: measured on, up to HOLDOUT_BYTES for each language.
        machine: where it runs.
        seed: of the short training; on a CPU the same seed gives the same table.

    Raises KoreanLLMError where no Korean is held out.
    """
    texts = _holdout(holdout_documents)
    model.to(machine.torch_device())  # type: ignore[arg-type]
    with console.working("measuring the unextended base"):
        base = _measured(model, base_tokenizer, texts)
    grow(model, merges, num_rows)
    contest = Contest(model, extended_tokenizer, merges, num_rows, context, texts, base)
    contest.first_round()
    contest.final(train_texts, seed)
    winner = contest.winner()
    contest.start(winner.inputs, winner.outputs)
    if not winner.eligible:
        console.note(f"every way to start rows costs English more than {MAX_ENGLISH_RISE:.1%}; the cheapest is taken")
    console.note(
        f"starting rows: {_name(winner)} wins of {len(contest.rows)} ways, Korean {winner.ko:.3f} bits per byte as it"
        f" starts, {winner.ko / base['ko'] - 1:+.1%} against the unextended base"
    )
    first = {"inputs": None, "outputs": None, "ko_bits_per_byte": _rounded(base["ko"])}
    first |= {"en_bits_per_byte": _rounded(base.get("en")), "ko_against_base": 0.0}
    table = [first, *(row.plain(base["ko"]) for row in contest.ranked())]
    caps = {f"holdout_{name}_bytes": size for name, size in HOLDOUT_BYTES.items()} | {"trial_tokens": TRIAL_TOKENS}
    return TournamentResult(winner.inputs, winner.outputs, table, caps)


@dataclass
class Contest:
    """The rounds, over one model that is started again and again.

    Attributes:
        texts: hold-out by language.
        base: the unextended base's bits per byte by language.
        rows: what was tried so far.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    merges: Sequence[Merge]
    num_rows: int
    context: StartContext
    texts: Mapping[str, list[str]]
    base: Mapping[str, float]
    rows: list[Row] = field(default_factory=list)

    def first_round(self) -> None:
        """Measure every way as it starts."""
        ways = [way for way in METHODS if way != "fitted" or self.context.windows]
        if tied(self.model):
            self._try((way, way) for way in ways)
            return
        # As input rows `fitted` is the mean.
        self._try((way, "mean") for way in ways if way != "fitted")
        best = min(self.rows, key=lambda row: row.ko).inputs
        self._try((best, way) for way in ways if way != "mean")

    def _try(self, pairs: Iterable[tuple[Start, Start]]) -> None:
        for inputs, outputs in console.progress(list(pairs), "trying ways to start new rows"):
            try:
                self.start(inputs, outputs)
            except KoreanLLMError as error:
                console.note(f"{outputs} is left out: {error}")
                continue
            bits = _measured(self.model, self.tokenizer, self.texts)
            self.rows.append(Row(inputs, outputs, bits["ko"], bits.get("en"), self._eligible(bits)))

    def _eligible(self, bits: Mapping[str, float]) -> bool:
        return "en" not in bits or bits["en"] <= self.base["en"] * (1 + MAX_ENGLISH_RISE)

    def start(self, inputs: Start, outputs: Start) -> None:
        """Fill the new rows anew."""
        extend_rows(self.model, self.merges, self.num_rows, inputs, outputs, self.context)

    def final(self, train_texts: Sequence[str], seed: int) -> None:
        """Train the new rows of the best few for a little while, and measure again."""
        texts = spread(train_texts, TRIAL_BYTES)
        finalists = [row for row in self.ranked() if row.eligible][:FINALISTS]
        for row in console.progress(finalists, "training new rows of the best"):
            self.start(row.inputs, row.outputs)
            kept = [table_VD.detach().clone() for table_VD in distinct_tables(self.model)]
            train_rows(self.model, self.tokenizer, [merge.id for merge in self.merges], texts, seed)
            bits = _measured(self.model, self.tokenizer, self.texts)
            row.ko_trained, row.en_trained = bits["ko"], bits.get("en")
            with torch.no_grad():
                for table_VD, before_VD in zip(distinct_tables(self.model), kept, strict=True):
                    table_VD.copy_(before_VD)

    def ranked(self) -> list[Row]:
        """Best first: those that were trained by what they came to, the others as they started."""
        return sorted(self.rows, key=lambda row: (row.ko_trained is None, row.ko_trained or row.ko))

    def winner(self) -> Row:
        """The eligible way with the lowest Korean bits per byte after training.

        Where none is eligible, the one that costs English least.
        """
        eligible = [row for row in self.ranked() if row.eligible]
        return eligible[0] if eligible else min(self.rows, key=lambda row: row.en or row.ko)


def _name(row: Row) -> str:
    return row.inputs if row.inputs == row.outputs else f"{row.inputs} for input and {row.outputs} for output rows"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _holdout(documents: Iterable[Document]) -> dict[str, list[str]]:
    by_language: dict[str, list[str]] = {language: [] for language in HOLDOUT_BYTES}
    for document in documents:
        by_language.setdefault(document.language, []).append(document.text)
    texts = {name: spread(by_language[name], size) for name, size in HOLDOUT_BYTES.items() if by_language[name]}
    if "ko" not in texts:
        raise KoreanLLMError(
            "vocabulary.initialise: auto measures on held-out Korean, and none is held out; raise corpus.holdout, or"
            " name a way to start, for instance fitted."
        )
    return texts


def _measured(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, list[str]]
) -> dict[str, float]:
    """Bits per byte by language."""
    return {name: bits_per_byte(model, tokenizer, chosen).per_byte for name, chosen in texts.items()}
