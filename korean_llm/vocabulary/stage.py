"""Stage `vocabulary`: learn Korean tokens, extend tokenizer and model, prove that old text is untouched."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.corpus.documents import HOLDOUT, TRAIN, read_documents
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.recipe import VocabularySettings
from korean_llm.vocabulary.byte_level import bytes_piece, first_free_id, token_bytes, tokenizer_state, word_ids
from korean_llm.vocabulary.extend import extended_state, save_tokenizer
from korean_llm.vocabulary.learn import Learner, Merge
from korean_llm.vocabulary.prove import Proof, Prover
from korean_llm.vocabulary.report import FERTILITY_FILE, TOKENS_FILE, compare_fertility, write_tokens
from korean_llm.vocabulary.rows import extend_rows
from korean_llm.vocabulary.words import count_words

MARK = "extended_vocabulary"
"""Key of config.json that says which ids are new: {"first_id": …, "tokens": …}."""


def run(
    settings: VocabularySettings, inputs: dict[str, Path], out: Path, machine: Machine, seed: int
) -> dict[str, Any]:
    """Write out/model (extended checkpoint and tokenizer), out/tokens.jsonl, out/fertility.json.

    Raises KoreanLLMError where the base is already extended or its tokenizer cannot be, where the corpus is too
    small for the tokens asked for, and where Promise 1 does not hold for some text.
    """
    base, corpus, model = inputs["base"] / "model", inputs["corpus"], out / "model"
    refuse_extended(base)
    old = load_tokenizer(base)
    merges, num_bytes = learn(old, settings, corpus, seed)
    save_tokenizer(extended_state(tokenizer_state(old), merges), base, model)
    new = load_tokenizer(model)
    proof = prove(old, new, merges, corpus)
    kinds = write_tokens(out / TOKENS_FILE, merges)
    measured = measure(old, new, corpus)
    write_json(out / FERTILITY_FILE, measured)
    with console.working("extending the model"):
        vocab_size = save_model(base, model, merges, settings)
    _tell(merges, measured, proof)
    return {
        "counts": {
            "new_tokens": len(merges),
            "kinds": kinds,
            "vocabulary": vocab_size,
            "learned_from_bytes": num_bytes,
        },
        "metrics": {
            "measured_on": measured["measured_on"],
            "tokens_per_eojeol": measured["total"]["tokens_per_eojeol"],
            "bytes_per_token": measured["total"]["bytes_per_token"],
            "proof": asdict(proof),
        },
    }


def refuse_extended(base: Path) -> None:
    """Raise KoreanLLMError where the base was extended by this stage before."""
    mark = json.loads((base / "config.json").read_text(encoding="utf-8")).get(MARK)
    if mark:
        raise KoreanLLMError(
            f"the base already has {mark['tokens']:,} tokens of an earlier extension; give the model it was made from,"
            " or leave the section 'vocabulary' out of the recipe."
        )


def learn(
    tokenizer: PreTrainedTokenizerBase, settings: VocabularySettings, corpus: Path, seed: int
) -> tuple[list[Merge], int]:
    """The new tokens, and the bytes of Korean text they were learned from.

    Raises KoreanLLMError where the corpus does not yield as many tokens as are asked for.
    """
    state, backend = tokenizer_state(tokenizer), tokenizer.backend_tokenizer
    counts, num_bytes = count_words(backend, corpus, settings.learn_max_bytes, seed)
    words = [
        (ids, count)
        for word, count in console.progress(counts.items(), "cutting words", len(counts))
        if (ids := word_ids(backend, word))
    ]
    with console.working("counting pairs"):
        learner = Learner(
            words,
            token_bytes(state),
            first_free_id(state),
            settings.min_count,
            lambda raw: word_ids(backend, bytes_piece(raw)),
        )
    wanted = settings.new_tokens
    merges = list(console.progress(islice(learner.merges(), wanted), "learning tokens", wanted))
    if len(merges) < wanted:
        raise KoreanLLMError(
            f"vocabulary.new_tokens asks for {wanted:,} tokens, but {num_bytes:,} bytes of Korean text yield only"
            f" {len(merges):,} that occur at least {settings.min_count} times (vocabulary.min_count); set new_tokens to"
            f" {len(merges):,} or less, or add Korean text to corpus.sources."
        )
    return merges, num_bytes


def prove(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, merges: list[Merge], corpus: Path) -> Proof:
    """Prove Promise 1 on every training and hold-out document of the corpus."""
    prover = Prover(old, new, merges)
    prover.entries()
    prover.tokens()
    documents = chain(read_documents(corpus / TRAIN), read_documents(corpus / HOLDOUT))
    texts = (document.text for document in documents)
    prover.texts(console.progress(texts, "proving that old text is untouched"))
    return prover.proof


def measure(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, corpus: Path) -> dict[str, Any]:
    """Fertility on the hold-out; on the training documents, and saying so, where no Korean document is held out."""
    documents, measured_on = list(read_documents(corpus / HOLDOUT)), "held-out"
    if not any(document.language == "ko" for document in documents):
        documents, measured_on = list(read_documents(corpus / TRAIN)), "training"
    return {"measured_on": measured_on, **compare_fertility(old, new, documents)}


def save_model(base: Path, out: Path, merges: list[Merge], settings: VocabularySettings) -> int:
    """Write the model with its new rows in the base's own number format; returns the rows of its table."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True, use_safetensors=True)
    extend_rows(model, [merge.base_ids for merge in merges], merges[0].id, settings.initialise)
    setattr(model.config, MARK, {"first_id": merges[0].id, "tokens": len(merges)})
    model.save_pretrained(out)
    # save_pretrained leaves out what equals a default; the base's own file stays as its authors wrote it.
    if (base / "generation_config.json").exists():
        shutil.copyfile(base / "generation_config.json", out / "generation_config.json")
    return int(model.config.get_text_config().vocab_size)


def _tell(merges: list[Merge], measured: dict[str, Any], proof: Proof) -> None:
    ratio = measured["total"]["tokens_per_eojeol"]
    console.note(
        f"{len(merges):,} new tokens; tokens per eojeol {ratio['base']:.2f} → {ratio['extended']:.2f} on"
        f" {measured['measured_on']} Korean; {proof.texts:,} texts and {proof.segments_without_hangul:,} stretches"
        " without Hangul checked, 0 ids changed"
    )
