"""Instruction tuning: an adapter any PEFT can open, trained on answers alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from korean_llm.chat import open_chat
from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import InstructionSettings, LoraSettings
from korean_llm.training.examples import Example, read_examples, split
from korean_llm.training.instruct import run, separate_pad
from tests.conftest import make_tokenizer

ROWS = [{"id": f"i{n}", "instruction": f"{n} 다음 수는?", "input": "", "output": f"{n + 1}입니다."} for n in range(24)]


def corpus(folder: Path, rows: list[dict[str, str]]) -> str:
    """An instruction corpus with its card."""
    folder.mkdir(parents=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (folder / "rows.jsonl").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    card = (
        f"title: t\nkind: instructions\nlanguage: ko\nlicence: CC0-1.0\nsource: test\nfiles: {{rows.jsonl: {sha256}}}\n"
    )
    (folder / "card.yaml").write_text(card, encoding="utf-8")
    return str(folder)


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
    from peft import PeftModel

    from korean_llm.modeling.load import load_model, load_tokenizer

    out = tmp_path / "out"
    out.mkdir()
    data = corpus(tmp_path / "questions", ROWS)
    settings = InstructionSettings(
        data=[data], epochs=4.0, max_tokens=128, batch_examples=4, learning_rate=1e-2, lora=LoraSettings(rank=4)
    )
    result = run(settings, {"model": base_folder}, out, machine, 17)
    assert result["metrics"]["holdout_loss_after"] < result["metrics"]["holdout_loss_before"]
    assert result["counts"]["examples"] + result["counts"]["held_out"] == len(ROWS)
    config = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert not config["base_model_name_or_path"].startswith("/")
    assert json.loads((out / "adapter" / "template.json").read_text(encoding="utf-8"))["sha256"]

    model = PeftModel.from_pretrained(load_model(base_folder / "model", machine), out / "adapter").eval()
    ids = load_tokenizer(base_folder / "model")("3 다음 수는?", return_tensors="pt")
    ours = model.generate(**ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist()
    command = [sys.executable, "-c", OPEN_PLAINLY, str(base_folder / "model"), str(out / "adapter")]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(plain.stdout.strip().splitlines()[-1]) == ours


def test_pad_is_never_eos() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    separate_pad(tokenizer)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_long_examples_are_left_out_and_counted() -> None:
    chat = open_chat(make_tokenizer())
    examples = [
        Example(f"e{n}", [{"role": "user", "content": "가" * n}, {"role": "assistant", "content": "네"}])
        for n in (1, 2, 300)
    ]
    found = split(examples, chat, max_tokens=100)
    assert found.too_long == 1
    assert len(found.train) + len(found.holdout) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "x", "instruction": " ", "input": "", "output": "답"}, "empty instruction"),
        ({"id": "x", "instruction": "물음", "input": "", "output": ""}, "empty output"),
        ({"id": "x", "instruction": "물음"}, "line 1: expected text in the field 'output'"),
        ({"id": "x", "instruction": 3, "output": "답"}, "a value of type int"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict[str, str], message: str) -> None:
    with pytest.raises(KoreanLLMError, match=message):
        read_examples([corpus(tmp_path / "c", [row])], None)


def test_documents_are_no_instructions() -> None:
    with pytest.raises(KoreanLLMError, match="holds documents"):
        read_examples(["prose-ko"], None)
