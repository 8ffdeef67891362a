"""Packing: a packed block is worth exactly what its documents are worth alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from korean_llm.corpus.documents import Document
from korean_llm.errors import KoreanLLMError
from korean_llm.training.blocks import IGNORED, Blocks, build_blocks
from korean_llm.training.loop import PhaseTrainer, stack
from tests.conftest import TEXTS, make_model


def documents(num: int = 8) -> list[Document]:
    return [
        Document(f"{n}", "ko" if n % 2 else "en", "ko", "", TEXTS[n % len(TEXTS)][: 20 + n * 3]) for n in range(num)
    ]


def alone(model, block) -> tuple[float, int, list[torch.Tensor]]:
    """Sum of losses, number of targets and gradients of a block's documents, each in a forward pass of its own."""
    starts = [*(block["position_ids"] == 0).nonzero().flatten().tolist(), len(block["input_ids"])]
    total, count = torch.zeros(()), 0
    for start, end in pairwise(starts):
        ids = block["input_ids"][start:end]
        if len(ids) < 2:
            continue
        logits = model(input_ids=ids[None]).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum")
        count += len(ids) - 1
    model.zero_grad()
    (total / count).backward()
    return total.item() / count, count, [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_equals_unpacked(tokenizer, tmp_path: Path, attention: str) -> None:
    build_blocks(documents(), {"ko": 0.5, "en": 0.5}, tokenizer, 96, 3, tmp_path, seed=1)
    model = make_model(len(tokenizer))
    model.set_attn_implementation(attention)
    trainer = PhaseTrainer(names=set(), model=model, args=TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]))
    for block in (Blocks(tmp_path)[index] for index in range(3)):
        assert (block["position_ids"] == 0).sum() > 1, "the block holds several documents"
        expected, count, gradients = alone(model, block)
        assert count == (block["labels"][1:] != IGNORED).sum()
        model.zero_grad()
        loss = trainer.compute_loss(model, stack([block]))
        loss.backward()
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            scale = gradient.norm().item()
            assert (parameter.grad - gradient).norm().item() <= 1e-5 * max(scale, 1e-3)


def test_the_order_depends_on_the_seed_alone(tokenizer, tmp_path: Path) -> None:
    shares = {"ko": 0.7, "en": 0.3}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        np.random.seed(seed + len(name) * ord(name))  # the global generators must not matter
        torch.manual_seed(ord(name))
        build_blocks(documents(), shares, tokenizer, 64, 6, tmp_path / name, seed)
    first, second, other = (np.load(tmp_path / name / "ids.npy") for name in "abc")
    assert (first == second).all()
    assert (first != other).any()


def test_shares_are_kept(tokenizer, tmp_path: Path) -> None:
    taken = build_blocks(documents(), {"ko": 3, "en": 1}, tokenizer, 64, 40, tmp_path, seed=1)
    assert sum(taken.values()) == 64 * 40
    assert taken["ko"] / sum(taken.values()) == pytest.approx(0.75, abs=0.05)


def test_an_item_is_the_same_from_any_start(tokenizer, tmp_path: Path) -> None:
    build_blocks(documents(), {"ko": 1, "en": 1}, tokenizer, 32, 10, tmp_path, seed=3)
    whole, tail = Blocks(tmp_path), Blocks(tmp_path, start=7, count=3)
    assert len(whole) == 10 and len(tail) == 3
    assert torch.equal(whole[8]["input_ids"], tail[1]["input_ids"])


def test_a_source_without_documents_is_named(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match="'legal-ko'"):
        build_blocks(documents(), {"ko": 1, "legal-ko": 1}, tokenizer, 32, 2, tmp_path, seed=3)
