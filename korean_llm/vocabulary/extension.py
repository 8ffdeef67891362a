"""Extend a tokenizer: write, prove, measure. The stage and `korean-llm vocabulary` both go through here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from korean_llm import console
from korean_llm.artifact import write_json
from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.load import load_tokenizer
from korean_llm.vocabulary.family import Family, padded
from korean_llm.vocabulary.hard_texts import hard_texts
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.learned import Learned
from korean_llm.vocabulary.prove import Proof, Prover, as_the_file_says, batches, same_steps

MARK = "extended_vocabulary"
"""Key of config.json and tokenizer_config.json that says which ids are new: {"first_id", "tokens", "rows"}."""
_CURVE_STARTS = 500


def num_rows(family: Family, merges: Sequence[Merge], base_rows: int) -> int:
    """Rows of the extended table: a multiple of 128, and no fewer than the base has."""
    return max(padded(family.first_id + len(merges)), base_rows)


def save(family: Family, merges: Sequence[Merge], rows: int, base: Path, out: Path) -> PreTrainedTokenizerBase:
    """Write the extended tokenizer to the folder out and load it from there."""
    family.save(merges, rows, base, out)
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    mark = {"first_id": family.first_id, "tokens": len(merges), "rows": rows}
    write_json(path, {**config, MARK: mark})
    return load_tokenizer(out)


def refuse_extended(base: Path) -> None:
    """Raise KoreanLLMError where a model or tokenizer folder was extended before."""
    for name in ("config.json", "tokenizer_config.json"):
        path = base / name
        mark = json.loads(path.read_text(encoding="utf-8")).get(MARK) if path.exists() else None
        if mark:
            raise KoreanLLMError(
                f"the base already has {mark['tokens']:,} tokens of an earlier extension; give the model it was made"
                " from, or leave the section 'vocabulary' out of the recipe."
            )


def prove(family: Family, merges: Sequence[Merge], base: Path, out: Path, texts: Iterable[str]) -> Proof:
    """Prove Promise 1 on generated hard texts and on every given text.

    Both the tokenizers that transformers loads and those that the files say are compared, where these differ.

    Args:
        family: the base's tokenizer.
        merges: the new tokens.
        base, out: where the base's and the extended tokenizer lie.
        texts: Korean and other texts.
    """
    rows = load_tokenizer(out).init_kwargs[MARK]["rows"]
    old_twin, new_twin = family.twin(base), family.twin(out)
    twins = (old_twin, new_twin) if old_twin and new_twin else None
    prover = Prover(family, as_the_file_says(base), as_the_file_says(out), merges, rows, twins)
    loaded = Prover(family, load_tokenizer(base), load_tokenizer(out), merges, rows)
    for one in (prover, loaded):
        one.entries()
        one.tokens()
    provers = [prover] if same_steps(load_tokenizer(base), as_the_file_says(base)) else [prover, loaded]
    for batch in batches(chain(hard_texts(), console.progress(texts, "proving that old text is untouched"))):
        for one in provers:
            one.texts(batch)
    return prover.proof


def curve(family: Family, learned: Learned, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Tokens of held-out texts against the number of new tokens: 0, 500, 1,000, 2,000 … and all.

    Each point is a real tokenizer of the first tokens only, and holds the tokens of the runs of Hangul in the
    learning text as well.
    """
    merges = learned.merges
    sizes, size = [0], _CURVE_STARTS
    while size < len(merges):
        sizes.append(size)
        size *= 2
    points = []
    for size in [*sizes, len(merges)]:
        state = json.dumps(family.extended(merges[:size], family.first_id + size), ensure_ascii=False)
        tokenizer = Tokenizer.from_str(state)
        ids = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        left = merges[size - 1].tokens_left if size else learned.start_tokens
        points.append({"new_tokens": size, "held_out_tokens": sum(map(len, ids)), "learning_tokens": left})
    return points
