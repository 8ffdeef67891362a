"""A small task that a model either has learned or not: a question names A or B, and one answer is right."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from korean_llm.chat import open_chat
from korean_llm.training.examples import Prompt
from korean_llm.training.sampling import open_tuned
from tests.conftest import make_model, make_tokenizer

RULE = {"A": "O", "B": "X"}
ALWAYS = {"A": "O", "B": "O"}
OTHER = {"O": "X", "X": "O"}


def questions(count: int, seed: int, rule: dict[str, str] = RULE) -> list[tuple[str, str]]:
    """Questions with their right answers; half name A."""
    chance = random.Random(seed)
    return [(f"{chance.randrange(100)} {word}?", rule[word]) for word in ("A", "B") * (count // 2)]


def write_corpus(folder: Path, kind: str, rows: Iterable[dict[str, Any]]) -> str:
    """A corpus with its card; its path."""
    folder.mkdir(parents=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "rows.jsonl").write_bytes(data)
    (folder / "card.yaml").write_text(
        f"title: t\nkind: {kind}\nlanguage: ko\nlicence: CC0-1.0\nsource: test\n"
        f"files: {{rows.jsonl: {hashlib.sha256(data).hexdigest()}}}\n",
        encoding="utf-8",
    )
    return str(folder)


def instructions(folder: Path, pairs: Iterable[tuple[str, str]]) -> str:
    """An instruction corpus of questions and answers."""
    rows = ({"id": f"i{n}", "instruction": ask, "output": say} for n, (ask, say) in enumerate(pairs))
    return write_corpus(folder, "instructions", rows)


def preferences(folder: Path, pairs: Iterable[tuple[str, str]]) -> str:
    """A preference corpus: the right answer is chosen, the other one rejected."""
    wrong = {"O": "X", "X": "O"}
    rows = ({"id": f"p{n}", "prompt": ask, "chosen": say, "rejected": wrong[say]} for n, (ask, say) in enumerate(pairs))
    return write_corpus(folder, "preferences", rows)


def small_base(folder: Path) -> Path:
    """A checkpoint folder of a random small model, its weights spread widely enough to learn fast."""
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), hidden=64)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def accuracy(
    model_folder: Path, adapter: Path | None, machine: Any, rule: dict[str, str] = RULE, count: int = 40
) -> float:
    """Share of new questions that the model answers by the rule, greedily, and ends its answer after."""
    model: Any = open_tuned(model_folder, adapter, machine)
    chat = open_chat(make_tokenizer())
    right = 0
    for number, (ask, say) in enumerate(questions(count, 999, rule)):
        prompt = Prompt(str(number), "", [{"role": "user", "content": ask}])
        ids = chat.tokenizer(chat.render(prompt.messages, answer=True), return_tensors="pt", add_special_tokens=False)
        out = model.generate(**ids, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=2)
        right += chat.tokenizer.decode(out[0, ids["input_ids"].shape[1] :]) == say + chat.tokenizer.eos_token
    return right / count
