"""Stage `vocabulary`: learn Korean tokens, extend tokenizer and model, prove that old text is untouched."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.corpus.documents import HOLDOUT, TRAIN, Document, read_documents
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.modeling.shape import from_config
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.extension import curve, num_rows, prove, refuse_extended, save
from korean_llm.vocabulary.families import family_of
from korean_llm.vocabulary.learned import Learned, learn
from korean_llm.vocabulary.model import corpus_texts, save_model
from korean_llm.vocabulary.prove import Proof
from korean_llm.vocabulary.report import FERTILITY_FILE, TOKENS_FILE, compare_fertility, write_tokens
from korean_llm.vocabulary.words import korean_texts
from korean_llm.vocabulary.worth import judge


def run(
    settings: VocabularySettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Write out/model (extended checkpoint and tokenizer), out/tokens.jsonl, out/fertility.json.

    Raises KoreanLLMError where the base is already extended or its tokenizer cannot be, where the corpus is too
    small for the tokens asked for, where `new_tokens: auto` finds that none are worth it, and where Promise 1 does
    not hold for some text.
    """
    base, corpus, model = inputs["base"] / "model", inputs["corpus"], out / "model"
    refuse_extended(base)
    shape = from_config(base / "config.json")
    old = load_tokenizer(base)
    family = family_of(base)
    learned = learn(family, korean_texts(corpus, settings.learn_max_bytes, seed), settings, shape)
    rows = num_rows(family, learned.merges, shape.vocabulary)
    new = save(family, learned.merges, rows, base, model)
    documents = chain(read_documents(corpus / TRAIN), read_documents(corpus / HOLDOUT))
    proof = prove(family, learned.merges, base, model, (document.text for document in documents))
    held_out, measured_on = _held_out(corpus)
    korean = [document.text for document in held_out if document.language == "ko"]
    measured = {
        "measured_on": measured_on,
        **compare_fertility(old, new, held_out),
        "curve": curve(family, learned, korean),
    }
    judged = judge(shape, len(learned.merges), rows, measured, auto=settings.new_tokens == "auto")
    started = save_model(
        base,
        base,
        model,
        family,
        learned.merges,
        rows,
        settings.initialise,
        settings.initialise_output or settings.initialise,
        corpus_texts(corpus, held_out),
        machine,
        seed,
    )
    write_json(out / FERTILITY_FILE, {**measured, "verdict": judged, "starting_rows": started})
    kinds = write_tokens(out / TOKENS_FILE, family, learned)
    tell(learned, measured, proof, judged)
    return {
        "counts": {
            "new_tokens": len(learned.merges),
            "steps_only": len(learned.steps),
            "kinds": kinds,
            "vocabulary": rows,
            "padding_rows": rows - family.first_id - len(learned.merges),
            "learned_from_bytes": learned.num_bytes,
        },
        "metrics": {
            "family": family.name,
            "measured_on": measured_on,
            "tokens_per_eojeol": measured["total"]["tokens_per_eojeol"],
            "bytes_per_token": measured["total"]["bytes_per_token"],
            "verdict": judged,
            "starting_rows": {name: started[name] for name in ("inputs", "outputs")},
            "proof": asdict(proof),
        },
    }


def _held_out(corpus: Path) -> tuple[list[Document], str]:
    """The hold-out; the training documents, and saying so, where no Korean document is held out."""
    documents = list(read_documents(corpus / HOLDOUT))
    if any(document.language == "ko" for document in documents):
        return documents, "held-out"
    return list(read_documents(corpus / TRAIN)), "training"


def tell(learned: Learned, measured: dict[str, Any], proof: Proof, judged: dict[str, Any]) -> None:
    """Say on the console what was learned, saved and proved."""
    ratio = measured["total"]["tokens_per_eojeol"]
    console.note(
        f"{len(learned.merges):,} new tokens; tokens per eojeol {ratio['base']:.2f} → {ratio['extended']:.2f} on"
        f" {measured['measured_on']} Korean ({judged['context_saved_ratio']:.0%} of the context saved:"
        f" {judged['recommendation']}); {proof.texts:,} texts and {proof.segments_without_hangul:,} stretches without"
        " Hangul checked, 0 ids changed"
    )
