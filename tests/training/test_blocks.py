"""Packing: a packed block is worth exactly what its documents are worth alone."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from korean_llm.corpus.documents import Document
from korean_llm.errors import KoreanLLMError
from korean_llm.training.blocks import IGNORED, Blocks, tokens_by_source, write_order
from korean_llm.training.checkpoints import PhaseTrainer
from korean_llm.training.loop import stack
from korean_llm.training.tokens import Tokens, write_tokens
from tests.conftest import TEXTS, make_model


def documents(num: int = 8) -> list[Document]:
    return [
        Document(f"{n}", "ko" if n % 2 else "en", "ko", "", TEXTS[n % len(TEXTS)][: 20 + n * 3]) for n in range(num)
    ]


def pack(tokenizer, folder: Path, shares: dict[str, float], block_tokens: int, num_blocks: int, seed: int) -> Blocks:
    tokens = write_tokens(documents(), tokenizer, folder / "tokens")
    write_order(tokens, shares, block_tokens * num_blocks, folder, seed)
    return Blocks(tokens, folder, block_tokens, 0, num_blocks)


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
    blocks = pack(tokenizer, tmp_path, {"ko": 0.5, "en": 0.5}, 224, 3, seed=1)
    model = make_model(len(tokenizer))
    model.set_attn_implementation(attention)
    trainer = PhaseTrainer(names=set(), model=model, args=TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]))
    for block in (blocks[index] for index in range(3)):
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


def ids_of(blocks: Blocks) -> np.ndarray:
    return np.stack([blocks[index]["input_ids"].numpy() for index in range(len(blocks))])


def test_the_order_depends_on_the_seed_alone(tokenizer, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        np.random.seed(seed + ord(name))  # the global generators must not matter
        torch.manual_seed(ord(name))
        found.append(ids_of(pack(tokenizer, tmp_path / name, {"ko": 0.7, "en": 0.3}, 64, 6, seed)))
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_the_order_is_the_slow_obvious_one(tokenizer, tmp_path: Path) -> None:
    """Document after document: next comes the source that is furthest behind its share."""
    shares = {"ko": 3.0, "en": 1.0}
    blocks = pack(tokenizer, tmp_path, shares, 64, 40, seed=1)
    tokens = Tokens(tmp_path / "tokens")
    order = [int(number) for number in blocks.documents_E]
    lengths = [int(tokens.starts[n + 1] - tokens.starts[n]) for n in order]
    sources = [tokens.names[tokens.sources[n]] for n in order]
    taken = dict.fromkeys(shares, 0)
    for source, length in zip(sources, lengths, strict=True):
        assert source == min(shares, key=lambda name: taken[name] / shares[name])
        taken[source] += length
    for source in shares:  # every document of a source once before any comes again
        own = [n for n, name in zip(order, sources, strict=True) if name == source]
        num = len(set(own))
        for start in range(0, len(own) - num, num):
            assert len(set(own[start : start + num])) == num


def test_shares_are_kept(tokenizer, tmp_path: Path) -> None:
    tokens = write_tokens(documents(), tokenizer, tmp_path / "tokens")
    write_order(tokens, {"ko": 3, "en": 1}, 64 * 40, tmp_path, seed=1)
    taken = tokens_by_source(tokens, tmp_path, 64 * 40)
    assert sum(tokens_by_source(tokens, tmp_path, 1_000).values()) == 1_000
    assert sum(taken.values()) == 64 * 40
    assert taken["ko"] / sum(taken.values()) == pytest.approx(0.75, abs=0.05)


def test_blocks_hold_the_documents_and_nothing_else(tokenizer, tmp_path: Path) -> None:
    blocks = pack(tokenizer, tmp_path, {"ko": 1, "en": 1}, 32, 10, seed=3)
    texts = {row.id: tokenizer(row.text, add_special_tokens=False)["input_ids"] for row in documents()}
    stream = [token for index in range(10) for token in blocks[index]["input_ids"].tolist()]
    for entry, start in zip(blocks.documents_E, blocks.starts_E, strict=True):
        expected = [tokenizer.bos_token_id, *texts[str(int(entry))], tokenizer.eos_token_id]
        assert stream[start : start + len(expected)] == expected[: len(stream) - start]
    names = blocks.document_names(range(2))
    assert names == [str(number) for number in dict.fromkeys(part[0] for n in range(2) for part in blocks.parts(n))]


def test_an_item_is_the_same_from_any_start(tokenizer, tmp_path: Path) -> None:
    whole = pack(tokenizer, tmp_path, {"ko": 1, "en": 1}, 32, 10, seed=3)
    tail = Blocks(Tokens(tmp_path / "tokens"), tmp_path, 32, start=7, count=3)
    assert len(whole) == 10 and len(tail) == 3
    assert all(torch.equal(whole[8][key], tail[1][key]) for key in whole[8])
    with pytest.raises(IndexError):
        tail[3]


def test_the_last_of_a_million_blocks_is_found_at_once(tokenizer, tmp_path: Path) -> None:
    count = 1_000_000
    pack(tokenizer, tmp_path, {"ko": 1, "en": 1}, 64, count, seed=3)
    started = time.perf_counter()
    blocks = Blocks(Tokens(tmp_path / "tokens"), tmp_path, 64, start=count - 1)
    assert blocks[0]["input_ids"].shape == (64,)
    assert time.perf_counter() - started < 1.0


def test_a_source_without_documents_is_named(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match="'legal-ko'"):
        pack(tokenizer, tmp_path, {"ko": 1, "legal-ko": 1}, 32, 2, seed=3)
    tokens = write_tokens([], tokenizer, tmp_path / "none")
    with pytest.raises(KoreanLLMError, match="'ko'"):
        write_order(tokens, {"ko": 1}, 64, tmp_path, seed=3)


def test_tokens_written_before_are_taken_as_they_are(tokenizer, tmp_path: Path) -> None:
    first = write_tokens(documents(), tokenizer, tmp_path / "tokens")
    again = write_tokens(iter(()), tokenizer, tmp_path / "tokens")
    assert (first.ids == again.ids).all()
