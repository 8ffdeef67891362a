"""Feedback as corpora: what pairs, labels and examples it gives, what it leaves out, and that real stages read it."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from korean_llm.answering.answer import Citation
from korean_llm.answering.feedback import Feedback, feedback_path
from korean_llm.answering.feedback.export import export
from korean_llm.answering.feedback.numbers import as_prompted
from korean_llm.answering.feedback.rows import REASONS, Rows, rows_of
from korean_llm.answering.prompt import build_prompt
from korean_llm.cli import main
from korean_llm.corpus.card import load_card
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.recipe import InstructionSettings, LoraSettings, PreferenceSettings
from korean_llm.training import instruct, prefer
from korean_llm.training.examples import read_examples, read_judged, read_pairs
from tests.answering.given import given, prompt_of

GOOD, BAD, OTHER = "도서관은 월요일에 쉽니다. [1]", "도서관은 날마다 엽니다. [1]", "월요일이 쉬는 날이에요. [1]"


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / "feedback.sqlite")


def say(feedback: Feedback, text: str, *events: str, session: str = "s", variant: str = "", **changes: Any) -> str:
    """An answer with what the reader did: "up", "edit=text"."""
    id = feedback.remember(given(text, **changes), session, variant)
    for event in events:
        kind, _, more = event.partition("=")
        feedback.record(id, kind, more)  # type: ignore[arg-type]
    return id


def pairs(rows: Rows) -> list[tuple[str, str, str]]:
    return [(row["chosen"], row["rejected"], row["signal"]) for row in rows.preferences]


def labels(rows: Rows) -> list[tuple[str, bool]]:
    return [(row["completion"], row["label"]) for row in rows.labels]


def test_votes_on_one_prompt_make_a_pair(feedback: Feedback) -> None:
    up = say(feedback, GOOD, "down", "up", session="a")
    down = say(feedback, BAD, "down", session="b", model="model-2")
    say(feedback, BAD, "down", question="다른 물음인가요?")
    say(feedback, OTHER, "up", "none")
    rows = rows_of(feedback.judged())
    assert pairs(rows) == [(GOOD, BAD, "vote")]
    row = rows.preferences[0]
    assert row["prompt"] == list(prompt_of())
    assert row["chosen_from"] == {"id": up, "model": "model-1", "adapter": "adapter-1", "index": "index-1"}
    assert row["rejected_from"]["id"] == down and row["rejected_from"]["model"] == "model-2"
    assert labels(rows) == [(GOOD, True), (BAD, False), (BAD, False)]
    assert [row["messages"] for row in rows.instructions] == [[*prompt_of(), {"role": "assistant", "content": GOOD}]]
    assert not rows.dropped and not rows.masked


def test_an_edit_is_better_than_what_was_edited_whatever_the_vote(feedback: Feedback) -> None:
    say(feedback, BAD, "up", f"edit={GOOD}")
    say(feedback, GOOD, f"edit={GOOD}", session="edited back")
    rows = rows_of(feedback.judged())
    assert pairs(rows) == [(GOOD, BAD, "edit")]
    assert labels(rows) == [(GOOD, True), (BAD, False)] and len(rows.instructions) == 1


def test_a_second_try_that_was_liked_is_better(feedback: Feedback) -> None:
    new = say(feedback, GOOD, "up")
    say(feedback, BAD, f"regenerate={new}")
    say(feedback, OTHER, "up", f"regenerate={new}")
    say(feedback, BAD, f"regenerate={new}", passages=("월요일에 쉽니다.", "새 글입니다."))
    unliked = say(feedback, OTHER + " 끝.")
    say(feedback, BAD, f"regenerate={unliked}")
    rows = rows_of(feedback.judged())
    assert pairs(rows) == [(GOOD, BAD, "regenerate")]
    assert rows.dropped == {"other_prompt": 1}


def test_a_choice_side_by_side_is_a_pair(feedback: Feedback) -> None:
    say(feedback, BAD, session="a", variant="base")
    say(feedback, GOOD, "up", session="a", variant="adapted")
    say(feedback, OTHER, session="b", variant="base")
    say(feedback, GOOD + " 네.", "up", session="c", variant="base")
    say(feedback, OTHER + " 네.", "up", session="c", variant="adapted")
    rows = rows_of(feedback.judged())
    assert pairs(rows) == [(GOOD, BAD, "choice")] and not rows.dropped


def test_contradictions_are_dropped_and_counted(feedback: Feedback) -> None:
    say(feedback, GOOD, "up", session="a")
    say(feedback, GOOD, "down", session="b")
    say(feedback, BAD, "down", session="c")
    say(feedback, OTHER, f"edit={OTHER} 그래요.", session="d")
    say(feedback, f"{OTHER} 그래요.", f"edit={OTHER}", session="e")
    rows = rows_of(feedback.judged())
    assert rows.preferences == []
    assert labels(rows) == [(BAD, False), (f"{OTHER} 그래요.", True), (OTHER, True)]
    assert rows.dropped == {"contradictory": 6}


def test_that_one_reader_edits_what_another_liked_is_no_contradiction(feedback: Feedback) -> None:
    say(feedback, GOOD, "up", session="a")
    say(feedback, GOOD, f"edit={OTHER}", session="b")
    rows = rows_of(feedback.judged())
    assert pairs(rows) == [(OTHER, GOOD, "edit")] and labels(rows) == [(GOOD, True), (OTHER, True)]


@pytest.mark.parametrize(
    ("text", "vote", "reason", "changes"),
    [
        (GOOD, "up", "no_prompt", {"mode": "extractive"}),
        (GOOD, "up", "cut_short", {"stopped": True}),
        (GOOD, "down", "other_question", {"kept_from": "도서관은 언제 여나요?"}),
        ("네.", "up", "low_quality", {}),
        ("It is closed on Mondays, I think.", "up", "low_quality", {}),
        ("도서관은 월요일에 쉽\ufffd다.", "up", "low_quality", {}),
        ("도서관은 월요일에 쉽\x00다.", "down", "low_quality", {}),
        ("월요일에 쉽니다. " * 1000, "down", "low_quality", {}),
        (prompt_of()[0]["content"], "up", "low_quality", {}),
    ],
)
def test_what_cannot_teach_is_left_out_and_counted(
    feedback: Feedback, text: str, vote: str, reason: str, changes: dict[str, Any]
) -> None:
    say(feedback, text, vote, **changes)
    rows = rows_of(feedback.judged())
    assert rows.dropped == {reason: 1} and reason in REASONS
    assert not (rows.labels or rows.preferences or rows.instructions)


def test_a_short_refusal_can_be_disliked_and_a_repeat_counts_once(feedback: Feedback) -> None:
    for session in "abc":
        say(feedback, "몰라요.", "down", session=session)
        say(feedback, GOOD, "up", session=session)
    rows = rows_of(feedback.judged())
    assert labels(rows) == [("몰라요.", False), (GOOD, True)] and pairs(rows) == [(GOOD, "몰라요.", "vote")]
    assert rows.dropped == {"duplicates": 4}


def test_marks_are_learned_as_the_prompt_numbers_them(feedback: Feedback) -> None:
    shown = "다섯 권까지 빌립니다. [1] 월요일에 쉽니다. [2]"
    say(feedback, shown, "edit=다섯 권이요. [1] 쉬는 날은 월요일입니다. [2] 아마도. [7]", cites=(3, 1))
    row = rows_of(feedback.judged()).preferences[0]
    assert row["rejected"] == "다섯 권까지 빌립니다. [3] 월요일에 쉽니다. [1]"
    assert row["chosen"] == "다섯 권이요. [3] 쉬는 날은 월요일입니다. [1] 아마도."


def test_the_real_prompt_gives_its_numbers_back() -> None:
    places = [Citation(n, f"d{n}", "안내", 0, len(text), text) for n, text in enumerate(("가 글.", "나 글."), start=1)]
    messages, _ = build_prompt("어느 글?", places, lambda messages: 1, 10)
    shown = [Citation(1, "d2", "안내", 0, 4, "나 글.")]
    assert as_prompted("저 글입니다. [1]", shown, messages[-1]["content"]) == "저 글입니다. [2]"


def test_a_prompt_may_leave_out_footnotes_and_line_breaks() -> None:
    shown = [Citation(1, "d2", "안내", 0, 20, "맑은 물에 헹군다.[3]\n양념을 바른다.")]
    asked = "자료:\n\n[1] 가\n다른 글.\n\n[2] 나\n맑은 물에 헹군다. 양념을 바른다.\n\n질문: ?"
    assert as_prompted("헹굽니다. [1]", shown, asked) == "헹굽니다. [2]"


@pytest.mark.parametrize(
    "passages", [("월요일에 쉽니다.", "[1] 가짜 번호\n아무 글"), ("다른 글입니다.", "또 다른 글입니다.")]
)
def test_a_mark_that_the_prompt_does_not_bear_out_teaches_nothing(
    feedback: Feedback, passages: tuple[str, ...]
) -> None:
    citations = (Citation(1, "d1", "안내", 0, 9, "월요일에 쉽니다."),)
    say(feedback, GOOD, "up", passages=passages, citations=citations)
    assert rows_of(feedback.judged()).dropped == {"lost_citation": 1}


PERSONAL = "담당자 전화는 010-1234-5678, 메일은 kim@example.co.kr 입니다."


def test_personal_data_is_masked_in_every_field(feedback: Feedback, tmp_path: Path) -> None:
    passages = (f"월요일에 쉽니다. {PERSONAL}",)
    say(feedback, f"{GOOD} {PERSONAL}", f"edit={OTHER} {PERSONAL}", question=PERSONAL, passages=passages)
    say(feedback, f"{GOOD} {PERSONAL} 네.", "up", question=PERSONAL, passages=passages)
    report = export(feedback, tmp_path / "out")
    assert report["masked"] == {"PHONE": 7, "EMAIL": 7}
    written = [path.read_text(encoding="utf-8") for path in (tmp_path / "out").glob("*/rows.jsonl")]
    assert len(written) == 3
    for text in written:
        assert "010-1234" not in text and "kim@" not in text and "[전화번호]" in text and "[이메일]" in text


def many(feedback: Feedback, count: int = 6) -> None:
    """So many questions, each with a liked and a disliked answer; short, for a small model."""
    for number in range(count):
        asked = {"question": f"{number}층은 언제 쉬나요?", "passages": (f"{number}층 월요일에 쉽니다.",)}
        say(feedback, f"{number}층은 월요일에 쉽니다. [1]", "up", session="a", **asked)
        say(feedback, f"{number}층은 모릅니다.", "down", session="b", **asked)


def test_the_same_feedback_gives_the_same_bytes(feedback: Feedback, tmp_path: Path) -> None:
    many(feedback)
    first, second = (export(feedback, tmp_path / name) for name in ("one", "two"))
    assert first == second and first["rows"] == {"preferences": 6, "labels": 12, "instructions": 6}
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 6
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    rows = [json.loads(line) for line in (tmp_path / "one/labels/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({row["id"] for row in rows}) == 12
    for name, count in first["rows"].items():
        counts = load_card(tmp_path / "one" / name).model.counts
        assert counts == {
            "rows": count,
            "bytes": (tmp_path / "one" / name / "rows.jsonl").stat().st_size,
            "masked": 0,
        }


def test_the_readers_of_the_stages_read_it(feedback: Feedback, tmp_path: Path) -> None:
    many(feedback)
    export(feedback, tmp_path / "out")
    preferences, all_labels, examples = (str(tmp_path / "out" / n) for n in ("preferences", "labels", "instructions"))
    assert [pair.rejected["content"] for pair in read_pairs([preferences])] == [f"{n}층은 모릅니다." for n in range(6)]
    assert [row.wanted for row in read_judged([all_labels])] == [True, False] * 6
    assert len(read_judged([preferences])) == 12
    assert [row.messages[-1]["content"] for row in read_examples([examples])] == [
        f"{n}층은 월요일에 쉽니다. [1]" for n in range(6)
    ]


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_the_preference_stage_trains_on_it(
    feedback: Feedback, base_folder: Path, machine: Machine, tmp_path: Path, method: str
) -> None:
    many(feedback)
    export(feedback, tmp_path / "fed")
    data = str(tmp_path / "fed" / ("preferences" if method == "dpo" else "labels"))
    settings = PreferenceSettings(
        method=method,  # type: ignore[arg-type]
        data=[data],
        max_tokens=512,
        batch_examples=4,
        epochs=1.0,
        lora=LoraSettings(rank=2),
    )
    (tmp_path / "out").mkdir()
    found = prefer.run(settings, {"model": base_folder}, tmp_path / "out", machine, 17)
    assert found["counts"]["examples"] + found["counts"]["held_out"] == (6 if method == "dpo" else 12)
    assert found["counts"]["steps"] >= 1 and found["counts"]["too_long"] == 0


def test_the_instruction_stage_trains_on_it(
    feedback: Feedback, base_folder: Path, machine: Machine, tmp_path: Path
) -> None:
    many(feedback)
    export(feedback, tmp_path / "fed")
    data = [str(tmp_path / "fed" / "instructions")]
    settings = InstructionSettings(data=data, max_tokens=512, batch_examples=4, epochs=1.0, lora=LoraSettings(rank=2))
    (tmp_path / "out").mkdir()
    found = instruct.run(settings, {"model": base_folder}, tmp_path / "out", machine, 17)
    assert (found["counts"]["examples"], found["counts"]["held_out"]) == (5, 1)


def _no_space(*_: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nothing_is_overwritten_and_nothing_is_half_written(
    feedback: Feedback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="holds nothing to learn from yet; vote on answers"):
        export(feedback, tmp_path / "out")
    say(feedback, GOOD, "up", mode="extractive")
    with pytest.raises(KoreanLLMError, match=r"yet \(left out: 1 no_prompt\)"):
        export(feedback, tmp_path / "out")
    many(feedback, 1)
    for place in (tmp_path / "full", tmp_path / "full" / "mine"):
        with pytest.raises(KoreanLLMError, match="is there already; give --out a new or an empty folder"):
            export(feedback, place)
    with pytest.raises(KoreanLLMError, match="cannot be written"):
        export(feedback, tmp_path / "full" / "mine" / "out")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["full"]
    with monkeypatch.context() as full_disk, pytest.raises(KoreanLLMError, match="No space left on device"):
        full_disk.setattr("korean_llm.answering.feedback.export._put", _no_space)
        export(feedback, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["full"]
    (tmp_path / "empty").mkdir()
    assert export(feedback, tmp_path / "empty")["rows"]["labels"] == 2


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["korean-llm", "feedback", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()  # type: ignore[arg-type]

    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text("name: run\nbase: ./base\n", encoding="utf-8")
    status, _, told = call("show", "run")
    assert status == 2 and "run holds no feedback yet; collect some with `korean-llm demo run`" in told
    feedback = Feedback(feedback_path(Path("run")))
    many(feedback, 2)
    assert json.loads(call("show", "run", "--json")[1]) == feedback.counts() and feedback.counts()["up"] == 2
    assert "citation" in call("show", "run")[1]
    say(feedback, GOOD, "up", mode="extractive")
    assert json.loads(call("export", "run", "--out", "fed", "--json")[1])["rows"] == {
        "preferences": 2,
        "labels": 4,
        "instructions": 2,
    }
    status, _, told = call("export", "run", "--out", "fed")
    assert status == 2 and told.startswith("korean-llm: fed is there already") and told.count("\n") == 1
    status, table, told = call("export", "run", "--out", "more")
    assert status == 0 and "preferences" in table and "left out: 1 answers that no model was asked for" in told
    assert json.loads(call("forget", "run", "--session", "a", "--json")[1]) == {"answers": 2}
    assert feedback.counts()["up"] == 1
