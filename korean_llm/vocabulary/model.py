"""Write the extended model: old rows as they were, new rows, padding rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from korean_llm import console
from korean_llm.corpus.documents import TRAIN, Document, read_documents
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_tokenizer
from korean_llm.recipe import Start
from korean_llm.vocabulary.extension import MARK
from korean_llm.vocabulary.family import Family
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.rows import extend_rows
from korean_llm.vocabulary.starts import StartContext, build_context
from korean_llm.vocabulary.tournament import tournament

_TEXTS = 4_000
_OPENING_CHARS = 4_000


@dataclass(frozen=True)
class StartTexts:
    """Text that starting rows are made and measured with: training texts by language, held-out documents."""

    training: Mapping[str, Sequence[str]]
    held_out: Sequence[Document]


def corpus_texts(corpus: Path, held_out: Sequence[Document]) -> StartTexts:
    """Openings of some thousand evenly spaced training documents for each language."""
    return StartTexts({language: list(_openings(corpus, language)) for language in ("ko", "en")}, held_out)


def _openings(corpus: Path, language: str) -> Iterator[str]:
    total = sum(document.language == language for document in read_documents(corpus / TRAIN))
    step, seen = max(1, total // _TEXTS), 0
    for document in read_documents(corpus / TRAIN):
        if document.language == language:
            if seen % step == 0:
                yield document.text[:_OPENING_CHARS]
            seen += 1


def save_model(
    base: Path,
    tokenizer: Path,
    out: Path,
    family: Family,
    merges: Sequence[Merge],
    rows: int,
    inputs: Start,
    outputs: Start,
    texts: StartTexts,
    machine: Machine,
    seed: int,
) -> dict[str, Any]:
    """Write the model with its new rows in the base's own number format; how they start, and the tournament if any.

    Args:
        base: the model's folder.
        tokenizer: the folder of its tokenizer.
        out: folder to write, which holds the extended tokenizer.
        family: the base's tokenizer.
        merges: the new tokens.
        rows: rows of the grown tables.
        inputs, outputs: how new rows of embedding and head start; "auto" holds for both.
        texts: what they are made and measured with.
        machine, seed: where and how the tournament runs.

    Raises KoreanLLMError where the chosen start cannot work on this model.
    """
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True, use_safetensors=True)
    old, new = load_tokenizer(tokenizer), load_tokenizer(out)
    context = (
        StartContext() if inputs == outputs == "mean" else build_context(old, new, family.raw, texts.training, seed)
    )
    if "auto" in (inputs, outputs):
        training = texts.training.get("ko", ())
        result = tournament(model, old, new, merges, rows, context, training, texts.held_out, machine, seed)
        started = asdict(result)
    else:
        model.to(machine.torch_device())  # type: ignore[arg-type]
        extend_rows(model, merges, rows, inputs, outputs, context)
        started = {"inputs": inputs, "outputs": outputs}
    setattr(model.config, MARK, {"first_id": merges[0].id, "tokens": len(merges), "rows": rows})
    with console.working("writing the extended model"):
        model.to("cpu")  # type: ignore[arg-type]
        model.save_pretrained(out)
    # save_pretrained leaves out what equals a default; the base's own file stays as its authors wrote it.
    if (base / "generation_config.json").exists():
        shutil.copyfile(base / "generation_config.json", out / "generation_config.json")
    return started
