"""Instruction tuning: packed rows keep apart, adapters open with plain PEFT, answers alone are learned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from trl import SFTTrainer

from korean_llm.chat import open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.recipe import InstructionSettings, LoraSettings
from korean_llm.training.examples import Example
from korean_llm.training.instruct import (
    IGNORED,
    adapter_config,
    encoded,
    free_head,
    open_model,
    pack_shape,
    run,
    sft_arguments,
)
from korean_llm.training.tuning import separate_pad
from tests.conftest import make_model, make_tokenizer
from tests.training.task import instructions

PAIRS = [(f"{n} 다음 수는?", f"{n + 1}입니다.") for n in range(24)]


def examples(count: int = 12) -> list[Example]:
    """Conversations of one and of two turns, of different lengths."""
    found = []
    for n in range(count):
        turn = [{"role": "user", "content": f"{n} " * (n + 1)}, {"role": "assistant", "content": "네 " * (12 - n)}]
        found.append(Example(f"e{n}", f"c: line {n}", turn * (1 + n % 2)))
    return found


def settings(**changes) -> InstructionSettings:
    values = {"data": ["x"], "max_tokens": 256, "batch_examples": 4, "learning_rate": 1e-2}
    return InstructionSettings(**{**values, **changes, "lora": LoraSettings(rank=4)})


OPEN_PLAINLY = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
ids = tokenizer("3 다음 수는?", return_tensors="pt")
print(model.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist())
assert not any(name.startswith("korean_llm") for name in sys.modules)
"""


def test_the_adapter_opens_with_plain_peft_and_says_the_same(base_folder: Path, tmp_path: Path, machine) -> None:
    out = tmp_path / "out"
    out.mkdir()
    chosen = settings(data=[instructions(tmp_path / "c", PAIRS)], epochs=4.0)
    result = run(chosen, {"model": base_folder}, out, machine, 17)
    assert result["metrics"]["holdout_loss_after"] < result["metrics"]["holdout_loss_before"]
    assert result["counts"]["examples"] + result["counts"]["held_out"] == len(PAIRS)
    config = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert not config["base_model_name_or_path"].startswith("/")
    assert json.loads((out / "adapter" / "template.json").read_text(encoding="utf-8"))["sha256"]

    model = PeftModel.from_pretrained(load_model(base_folder / "model", machine), out / "adapter").eval()
    ids = load_tokenizer(base_folder / "model")("3 다음 수는?", return_tensors="pt")
    ours = model.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist()
    command = [sys.executable, "-c", OPEN_PLAINLY, str(base_folder / "model"), str(out / "adapter")]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(plain.stdout.strip().splitlines()[-1]) == ours


def test_answers_alone_are_learned_each_with_its_end() -> None:
    chat = open_chat(make_tokenizer())
    for example, row in zip(examples(), encoded(examples(), chat), strict=True):
        learned = [token for token in row["labels"] if token != IGNORED]
        said = "".join(m["content"] + "<|im_end|>" for m in example.messages if m["role"] == "assistant")
        assert chat.tokenizer.decode(learned) == said


def loss_and_gradient(model, rows) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Mean loss over all answer tokens of the rows, each in a forward pass of its own, and its gradients."""
    total, count = torch.zeros(()), 0
    for row in rows:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        labels = torch.tensor(row["labels"][1:])
        total = total + torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
        count += int((labels != IGNORED).sum())
    model.zero_grad()
    (total / count).backward()
    return total / count, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_equals_unpacked(attention: str, machine, tmp_path: Path) -> None:
    chat = open_chat(make_tokenizer())
    separate_pad(chat.tokenizer)
    rows = encoded(examples(), chat)
    model = make_model(len(chat.tokenizer))
    model.set_attn_implementation(attention)
    wanted, gradients = loss_and_gradient(model, rows)
    args = sft_arguments(settings(), rows, tmp_path, machine, 17)
    trainer = SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=chat.tokenizer)
    packed = trainer.train_dataset
    assert sum(len(lengths) for lengths in packed["seq_lengths"]) == len(rows) > len(packed), "rows hold several"
    batch = trainer.data_collator([packed[n] for n in range(len(packed))])
    assert "attention_mask" not in batch
    model.zero_grad()
    loss = trainer.compute_loss(model, batch)
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
    found = [p.grad for p in model.parameters() if p.grad is not None]
    for gradient, expected in zip(found, gradients, strict=True):
        assert (gradient - expected).norm() <= 1e-5 * max(expected.norm().item(), 1e-3)


@pytest.mark.parametrize(
    ("lengths", "batch", "limit", "expected"),
    [
        ([100] * 50, 8, 1_024, (800, 1)),  # eight examples fit into one row
        ([100] * 50, 32, 1_024, (800, 4)),  # four rows of eight
        ([10] * 50, 4, 1_024, (40, 1)),
        ([2_000, 10, 10, 10], 2, 1_024, (2_000, 1)),  # one example is longer than the limit
        ([300] * 9, 1, 1_024, (300, 1)),
    ],
)
def test_a_step_holds_as_many_examples_as_asked_for(lengths, batch, limit, expected) -> None:
    assert pack_shape(lengths, batch, limit) == expected


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_an_adapter_at_its_start_is_the_base(method: str) -> None:
    model = make_model(400)
    ids = torch.arange(3, 23)[None]
    expected = model(input_ids=ids).logits
    config = adapter_config(settings(method=method))
    assert config is not None
    found = get_peft_model(model, config)(input_ids=ids).logits
    if method == "lora":
        assert torch.equal(found, expected)
    else:  # DoRA divides a weight by its norm and multiplies by the same norm again
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_alone_learns(tied: bool, machine, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    make_model(len(tokenizer), tied=tied).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    data, out = instructions(tmp_path / "c", PAIRS), tmp_path / "out"
    out.mkdir()
    run(settings(data=[data], method="head", epochs=1.0), {"model": tmp_path}, out, machine, 17)
    before, after = (load_model(folder / "model", machine) for folder in (tmp_path, out))
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    moved = [name for name in new if not torch.equal(new[name], old.get(name, old["model.embed_tokens.weight"]))]
    assert moved == ["lm_head.weight"]
    assert after.config.tie_word_embeddings is False


def test_nothing_but_the_head_is_free() -> None:
    model = make_model(400)
    free_head(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["lm_head.weight"]


def test_a_4_bit_base_needs_a_gpu(base_folder: Path, machine) -> None:
    with pytest.raises(KoreanLLMError, match="needs a GPU"):
        open_model(settings(method="qlora"), base_folder / "model", machine)


def test_pad_is_never_eos() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    separate_pad(tokenizer)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
