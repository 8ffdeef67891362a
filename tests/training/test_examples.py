"""Rows to tune by: what is read, what is refused, and that a fault names its file, line and field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from korean_llm.chat import open_chat
from korean_llm.corpus.card import CARD
from korean_llm.errors import KoreanLLMError
from korean_llm.training.examples import Example, Prompt, read_examples, read_judged, read_pairs, read_prompts
from korean_llm.training.split import split
from tests.conftest import make_tokenizer
from tests.training.task import write_corpus

GOOD = {"id": "good", "instruction": "물음", "input": "", "output": "답"}
PAIR = {"id": "good", "prompt": "물음", "chosen": "좋은 답", "rejected": "나쁜 답"}


def talk(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role}의 말"} for role in roles]


def one(folder: Path, kind: str, *rows: dict[str, Any]) -> list[str]:
    return [write_corpus(folder / "c", kind, rows)]


def test_a_conversation_of_several_turns_is_read(tmp_path: Path) -> None:
    messages = talk("system", "user", "assistant", "user", "assistant")
    found = read_examples(one(tmp_path, "instructions", {"messages": messages}, GOOD))
    assert [row.id for row in found] == ["c-0", "good"]
    assert found[0].messages == messages
    assert found[1].messages == [{"role": "user", "content": "물음"}, {"role": "assistant", "content": "답"}]


def test_input_follows_the_instruction(tmp_path: Path) -> None:
    found = read_examples(one(tmp_path, "instructions", GOOD | {"input": " 글 "}))
    assert found[0].messages[0]["content"] == "물음\n\n글"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": " ", "output": "답"}, "the field 'instruction' is empty"),
        ({"instruction": "물음", "output": ""}, "the field 'output' is empty"),
        ({"instruction": "물음"}, "expected text in the field 'output', found instruction"),
        ({"instruction": 3, "output": "답"}, "'instruction', found a value of type int"),
        ({"instruction": "물음", "input": ["글"], "output": "답"}, "'input', found a value of type list"),
        (GOOD | {"id": [1]}, "'id' holds a value of type list"),
        ({"messages": "말"}, "expected a list of messages in the field 'messages', found str"),
        ({"messages": []}, "expected a list of messages in the field 'messages'"),
        ({"messages": ["말"]}, "in 'messages\\[0\\]', found a value of type str"),
        ({"messages": [{"content": "말"}]}, "in the field 'messages\\[0\\].role', found content"),
        ({"messages": [{"role": "user"}]}, "in the field 'messages\\[0\\].content', found role"),
        ({"messages": [*talk("user"), {"role": "assistant", "content": ""}]}, "'messages\\[1\\].content' is empty"),
        ({"messages": talk("user", "bot")}, "expected assistant in the field 'messages\\[1\\].role', found 'bot'"),
        ({"messages": talk("assistant")}, "expected system or user in the field 'messages\\[0\\].role'"),
        ({"messages": talk("user", "user")}, "expected assistant in the field 'messages\\[1\\].role', found 'user'"),
        ({"messages": talk("user", "assistant", "user")}, "'messages' to end with assistant, found 'user'"),
    ],
)
def test_a_faulty_example_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(KoreanLLMError, match=f"^c: rows.jsonl line 2: .*{message}"):
        read_examples(one(tmp_path, "instructions", GOOD, row))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "물음", "chosen": "답"}, "expected text in the field 'rejected', found chosen, prompt"),
        (PAIR | {"id": "x", "chosen": ""}, "the field 'chosen' is empty"),
        (PAIR | {"id": "x", "rejected": "좋은 답 "}, "'chosen' and 'rejected' hold the same answer"),
        (PAIR | {"id": "x", "chosen": "물음"}, "'chosen' repeats the prompt"),
        (PAIR | {"id": "x", "prompt": talk("user", "assistant")}, "'prompt' to end with user, found 'assistant'"),
        (PAIR | {"id": "x", "rejected": 1.5}, "'rejected', found a value of type float"),
        (PAIR, "the id 'good' is that of rows.jsonl line 1 too"),
    ],
)
def test_a_faulty_pair_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(KoreanLLMError, match=f"^c: rows.jsonl line 2: .*{message}"):
        read_pairs(one(tmp_path, "preferences", PAIR, row))


def test_every_faulty_row_is_counted(tmp_path: Path) -> None:
    bad = [GOOD | {"id": f"b{n}", "output": ""} for n in range(8)]
    with pytest.raises(KoreanLLMError, match=r"line 2: .* 7 more rows with faults \(rows.jsonl line 3, .*line 7, …\)"):
        read_examples(one(tmp_path, "instructions", GOOD, *bad))


def test_kto_reads_pairs_and_judged_answers(tmp_path: Path) -> None:
    judged = {"prompt": "물음", "completion": "답", "label": True}
    found = read_judged(one(tmp_path, "preferences", PAIR, judged))
    assert [(row.answer["content"], row.wanted) for row in found] == [
        ("좋은 답", True),
        ("나쁜 답", False),
        ("답", True),
    ]
    with pytest.raises(KoreanLLMError, match="expected true or false in the field 'label', found a value of type str"):
        read_judged(one(tmp_path / "b", "preferences", judged | {"label": "yes"}))


def test_prompts_of_both_kinds(tmp_path: Path) -> None:
    asked = {"messages": talk("user", "assistant", "user", "assistant")}
    corpora = one(tmp_path / "a", "instructions", asked) + one(tmp_path / "b", "preferences", PAIR)
    assert [len(row.messages) for row in read_prompts(corpora)] == [3, 1]
    assert [row.id for row in read_prompts(corpora, 1)] == ["c-0"]


def test_columns_of_a_card_are_renamed(tmp_path: Path) -> None:
    [corpus] = one(tmp_path, "instructions", {"q": "물음", "a": "답"})
    card = Path(corpus) / CARD
    card.write_text(card.read_text(encoding="utf-8") + "columns: {instruction: q, output: a}\n", encoding="utf-8")
    assert read_examples([corpus])[0].messages[1]["content"] == "답"


def test_documents_are_no_instructions() -> None:
    with pytest.raises(KoreanLLMError, match="holds documents, expected instructions"):
        read_examples(["prose-ko"], None)


def test_long_rows_are_left_out_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    chat = open_chat(make_tokenizer())
    rows = [
        Example(
            f"e{n}", f"c: line {n}", [{"role": "user", "content": "가" * n}, {"role": "assistant", "content": "네"}]
        )
        for n in (1, 2, 300)
    ]
    found = split(rows, chat, 100, "instruction")
    assert [row.id for row in found.too_long] == ["e300"]
    assert len(found.train) + len(found.holdout) == 2
    noted = capsys.readouterr().err
    assert "left out 1 of 3 rows, longer than 100 tokens: c: line 300 (9" in noted
    with pytest.raises(KoreanLLMError, match=r"only 0 of 3 rows fit into 5 tokens; raise instruction.max_tokens"):
        split(rows, chat, 5, "instruction")


def test_a_prompt_is_measured_to_where_the_answer_begins() -> None:
    chat = open_chat(make_tokenizer())
    prompt = Prompt("p", "c", [{"role": "user", "content": "물음"}])
    ids = chat.tokenizer(chat.render(prompt.messages, answer=True), add_special_tokens=False)["input_ids"]
    assert chat.measure(prompt.messages, prompt.place) == len(ids)


@pytest.mark.parametrize("verb", ["check", "run"])
def test_faults_are_told_before_anything_is_trained(tmp_path: Path, verb: str) -> None:
    [pairs] = one(tmp_path / "p", "preferences", PAIR, PAIR)
    [rows] = one(tmp_path / "i", "instructions", GOOD, GOOD | {"id": "b", "output": ""})
    recipe = tmp_path / "x.yaml"
    recipe.write_text(
        f"name: x\nbase: ./none\ninstruction: {{data: [{rows}]}}\npreference: {{data: [{pairs}]}}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "korean_llm.cli", verb, str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "instruction.data: c: rows.jsonl line 2: the field 'output' is empty" in done.stderr
    assert "preference.data: c: rows.jsonl line 2: the id 'good' is that of rows.jsonl line 1 too" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_nothing_of_it_needs_torch() -> None:
    code = "import sys, korean_llm.preflight; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_rows_written_by_best_of_n_can_be_read(tmp_path: Path) -> None:
    row = json.loads('{"id": "0-x", "messages": [], "score": 1.5}') | {"messages": talk("user", "assistant")}
    assert len(read_examples(one(tmp_path, "instructions", row))) == 1
