"""Write the extended tokenizer: old entries under their ids, new tokens and merges after them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from korean_llm.vocabulary.byte_level import bytes_piece
from korean_llm.vocabulary.learn import Merge

# Legacy files (vocab.json, merges.txt, tokenizer.model) hold the old vocabulary and would contradict tokenizer.json.
KEPT_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template*",
    "chat_templates",
    "LICENSE*",
    "NOTICE*",
)


def extended_state(state: dict[str, Any], merges: list[Merge]) -> dict[str, Any]:
    """tokenizer.json of the extended tokenizer; the given state is not changed.

    Llama-3 and Qwen keep special tokens only in `added_tokens`, behind the vocabulary. A tokenizer numbers those by
    the size of its vocabulary when it loads, so a grown vocabulary would renumber them: they are first written into
    the vocabulary under their own ids.
    """
    model = state["model"]
    vocabulary = dict(model["vocab"])
    for token in state["added_tokens"]:
        vocabulary.setdefault(token["content"], token["id"])
    pieces = {id: piece for piece, id in vocabulary.items()}
    joined = []
    for merge in merges:
        pieces[merge.id] = bytes_piece(merge.raw)
        joined.append([pieces[part] for part in merge.pair])
    vocabulary |= {pieces[merge.id]: merge.id for merge in merges}
    return {**state, "model": {**model, "vocab": vocabulary, "merges": [*model["merges"], *joined]}}


def save_tokenizer(state: dict[str, Any], base: Path, out: Path) -> None:
    """Write tokenizer.json to the folder out, with the base's chat template, settings and licence files as they are."""
    out.mkdir(parents=True, exist_ok=True)
    for pattern in KEPT_FILES:
        for path in sorted(base.glob(pattern)):
            if path.is_dir():
                shutil.copytree(path, out / path.name)
            else:
                shutil.copyfile(path, out / path.name)
    Tokenizer.from_str(json.dumps(state, ensure_ascii=False)).save(str(out / "tokenizer.json"))
