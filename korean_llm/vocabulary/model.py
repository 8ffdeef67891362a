"""Write the extended model: old rows as they were, new rows, padding rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoModelForCausalLM

from korean_llm.vocabulary.extension import MARK
from korean_llm.vocabulary.learn import Merge
from korean_llm.vocabulary.rows import Start, extend_rows


def save_model(base: Path, out: Path, merges: Sequence[Merge], rows: int, initialise: Start) -> None:
    """Write the model with its new rows in the base's own number format."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True, use_safetensors=True)
    extend_rows(model, [merge.base_ids for merge in merges], merges[0].id, initialise)
    model.resize_token_embeddings(rows, mean_resizing=False)
    setattr(model.config, MARK, {"first_id": merges[0].id, "tokens": len(merges), "rows": rows})
    model.save_pretrained(out)
    # save_pretrained leaves out what equals a default; the base's own file stays as its authors wrote it.
    if (base / "generation_config.json").exists():
        shutil.copyfile(base / "generation_config.json", out / "generation_config.json")
