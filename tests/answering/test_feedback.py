"""Feedback: what was acknowledged is there after a reload, a kill and a crowd; what is not whole is refused."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from korean_llm.answering.answer import Piece, Step
from korean_llm.answering.feedback import Feedback
from korean_llm.answering.feedback.store import MAX_TEXT_CHARS
from korean_llm.answering.secrets import SECRET, without_secrets
from korean_llm.errors import KoreanLLMError
from tests.answering.given import given

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records" / "feedback.sqlite"


@pytest.fixture
def feedback(path: Path) -> Feedback:
    return Feedback(path)


def test_a_conversation_is_drawn_again_after_a_restart(path: Path) -> None:
    first = given(understood="버들도서관은 언제 쉬나요?", steps=(Step("search", "휴관", "3건"),))
    second = given(
        "아홉 시에 엽니다. [1] 월요일에 쉽니다. [2]", cites=(2, 1), nearest=first.citations, kept_from="언제?"
    )
    before = Feedback(path)
    old, new = (before.remember(answer, "reader", f"v{n}") for n, answer in enumerate((first, second)))
    before.remember(given(), "another reader")
    before.record(old, "regenerate", new)
    before.record(new, "up")
    before.record(new, "edit", "아홉 시에 열어요.")
    before.record(new, "edit", "아홉 시에 열고 월요일에 쉬어요.")
    seen = before.of("reader")
    before.close()
    again = Feedback(path).of("reader")
    assert again == seen
    assert [(item.answer, item.answer.trace) for item in again] == [(first, first.trace), (second, second.trace)]
    assert [(item.vote, item.edited, item.regenerated) for item in again] == [
        ("", "", new),
        ("up", "아홉 시에 열고 월요일에 쉬어요.", ""),
    ]
    assert [item.variant for item in again] == ["v0", "v1"] and again[0].time <= again[1].time
    assert Feedback(path).of("nobody") == []


@pytest.mark.parametrize(
    ("votes", "stands"), [("up", "up"), ("up down", "down"), ("up none", ""), ("none up", "up"), ("", "")]
)
def test_the_last_vote_counts(feedback: Feedback, votes: str, stands: str) -> None:
    id = feedback.remember(given(), "reader")
    for vote in votes.split():
        feedback.record(id, vote)  # type: ignore[arg-type]
    feedback.record(id, "copy")
    assert feedback.of("reader")[0].vote == stands
    counts = feedback.counts()
    assert {kind: counts[kind] for kind in ("up", "down", "copy")} == {"up": 0, "down": 0, "copy": 1} | (
        {stands: 1} if stands else {}
    )


def test_counts_are_of_answers_not_of_clicks(feedback: Feedback) -> None:
    ids = [feedback.remember(given(), session) for session in ("a", "a", "b")]
    for _ in range(3):
        feedback.record(ids[0], "citation", "1")
    feedback.record(ids[1], "abandon")
    assert feedback.counts() == {
        "answers": 3,
        "sessions": 2,
        **{"up": 0, "down": 0, "edit": 0, "regenerate": 0, "copy": 0, "citation": 1, "abandon": 1},
    }


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("like", "", "the kind 'like' is not known; expected one of: up, down"),
        ("edit", " \n", "the edited answer is empty"),
        ("edit", "가" * (MAX_TEXT_CHARS + 1), "has 100,001 characters; feedback takes at most 100,000"),
        ("citation", "2", "no citation '2'; it cites 1"),
        ("citation", "1 OR 1=1", "no citation '1 OR 1=1'"),
        ("regenerate", "none", "no answer has the id 'none'"),
        ("regenerate", "SELF", "is no other answer of the same session"),
        ("regenerate", "OTHER", "is no other answer of the same session"),
    ],
)
def test_what_says_nothing_is_refused_and_leaves_nothing(
    feedback: Feedback, kind: str, text: str, message: str
) -> None:
    id, other = feedback.remember(given(), "reader"), feedback.remember(given(), "another")
    with pytest.raises(KoreanLLMError, match=message):
        feedback.record(id, kind, {"SELF": id, "OTHER": other}.get(text, text))  # type: ignore[arg-type]
    with pytest.raises(KoreanLLMError, match="no answer has the id"):
        feedback.record("'; DROP TABLE answers; --", "up")
    counts = feedback.counts()
    assert counts.pop("answers") == 2 and counts.pop("sessions") == 2 and not any(counts.values())


HOSTILE = "<script>alert(1)</script>\x00' OR 1=1; --\ud83d 각\u202e [1] {{7*7}}"


def test_hostile_text_is_text(feedback: Feedback) -> None:
    id = feedback.remember(given(HOSTILE, question=HOSTILE), HOSTILE)
    feedback.record(id, "edit", HOSTILE)
    feedback.record(id, "up", HOSTILE)
    [found] = feedback.of(HOSTILE)
    wanted = "<script>alert(1)</script>\x00' OR 1=1; --\ufffd 각\u202e [1] {{7*7}}"
    assert found.answer.text == found.answer.question == found.edited == found.session == wanted
    assert feedback.forget(HOSTILE) == 1


def test_too_much_is_refused_at_once(feedback: Feedback) -> None:
    start = time.monotonic()
    with pytest.raises(KoreanLLMError, match="at most 2,000,000 are kept"):
        feedback.remember(given("가" * 10_000_000), "reader")
    with pytest.raises(KoreanLLMError, match="the session has 1,000 characters; at most 200"):
        feedback.remember(given(), "가" * 1000)
    feedback.remember(given("sk- Bearer :// -----BEGIN PRIVATE KEY" * 20_000), "reader")
    assert time.monotonic() - start < 5
    assert feedback.counts()["answers"] == 1


KEYS = [
    "Authorization: Bearer abcDEF123456.-_~+/ghi=",
    "키는sk-proj-abcdefghijklmnop1234입니다",
    "hf_abcdefghijklmnopqrstuvwx",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.SflKxwRJSMeKKF2QT4",
    "https://kim:hunter2@example.kr/v1",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    "api_key=0123456789abcdef0123",
]


@pytest.mark.parametrize("text", KEYS)
def test_a_key_is_nowhere_in_the_file(feedback: Feedback, path: Path, text: str) -> None:
    whole = without_secrets(text)
    kept = set(whole.replace(SECRET, "\n").split("\n"))
    secret = max((part for part in text.replace("@", " ").split(" ") if part not in kept), key=len)[-12:].strip(
        "입니다"
    )
    streamed = tuple(Piece(letter) for letter in f"열쇠:\n{text}")
    id = feedback.remember(given(text, question=text, pieces=streamed, notice=text), text)
    feedback.record(id, "edit", text)
    feedback.record(id, "down", text)
    [found] = feedback.of(text)
    assert SECRET in whole and found.answer.text == f"열쇠:\n{whole}" and found.edited == found.session == whole
    assert whole in found.answer.trace.prompt[1]["content"]
    feedback.close()
    assert secret not in "".join(file.read_bytes().decode(errors="replace") for file in path.parent.iterdir())


@pytest.mark.parametrize(
    "text",
    ["risk-averse-but-careful-people", "토큰은 낱말의 조각이다.", "https://a.kr:8080/x@y", "task_force-of-the-city"],
)
def test_what_is_no_key_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_a_session_is_forgotten_to_the_byte(feedback: Feedback, path: Path) -> None:
    id = feedback.remember(given("홍길동만 아는 이야기입니다."), "reader")
    feedback.record(id, "edit", "홍길동만 아는 다른 이야기입니다.")
    kept = feedback.remember(given(), "another")
    assert (feedback.forget("reader"), feedback.forget("reader")) == (1, 0)
    assert feedback.of("reader") == [] and [item.id for item in feedback.of("another")] == [kept]
    assert "홍길동" not in "".join(file.read_bytes().decode(errors="replace") for file in path.parent.iterdir())
    assert (feedback.purge(1), feedback.purge(0), feedback.counts()["answers"]) == (0, 1, 0)


def test_eight_threads_and_two_files_lose_nothing(path: Path) -> None:
    two = Feedback(path), Feedback(path)

    def one(number: int) -> list[str]:
        mine = two[number % 2]
        ids = [mine.remember(given(), f"s{number}") for _ in range(15)]
        for id in ids:
            mine.record(id, "up")
        return ids

    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(one, range(8)))
    for number, ids in enumerate(written):
        assert [(item.id, item.vote) for item in two[0].of(f"s{number}")] == [(id, "up") for id in ids]


CHILD = """
import sys
from pathlib import Path
from korean_llm.answering.feedback import Feedback
from tests.answering.given import given
feedback, session = Feedback(Path(sys.argv[1])), sys.argv[2]
while True:
    id = feedback.remember(given("긴 답입니다. " * 300), session)
    print("answer", id, flush=True)
    feedback.record(id, "down")
    print("vote", id, flush=True)
"""


def test_killed_anywhere_it_has_all_that_was_acknowledged(path: Path) -> None:
    chance, said = random.Random(), {"answer": set[str](), "vote": set[str]()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for round in range(3):
        command = [sys.executable, "-c", CHILD, str(path)]
        children = [
            subprocess.Popen([*command, f"{round}-{n}"], env=environment, stdout=subprocess.PIPE, text=True)
            for n in range(2)
        ]
        lines = [child.stdout.readline() for child in children if child.stdout]
        time.sleep(chance.uniform(0.0, 0.3))
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
            lines += child.communicate()[0].splitlines(keepends=True)
            assert child.returncode == -signal.SIGKILL, "it was still writing"
        for kind, id in (line.split() for line in lines if line.endswith("\n")):
            said[kind].add(id)
        found = [item for n in range(round + 1) for m in range(2) for item in Feedback(path).of(f"{n}-{m}")]
        assert said["answer"] <= {item.id for item in found}
        assert said["vote"] <= {item.id for item in found if item.vote == "down"}
    assert said["vote"]
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    path.write_bytes(data)


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 2")


def _other(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE kept (a)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_damage, "is damaged or is none"),
        (_newer, r"its version is 2, this one knows 1\)"),
        (_other, "bears no mark of korean-llm"),
        (lambda path: path.write_bytes(b""), "bears no mark of korean-llm"),
        (lambda path: path.write_text("아무 글", encoding="utf-8"), "file is not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "is damaged or is none"),
    ],
    ids=["damaged", "newer", "another", "emptied", "text", "cut"],
)
def test_a_file_that_is_not_whole_is_refused_and_left_alone(path: Path, change, words: str) -> None:
    feedback = Feedback(path)
    feedback.remember(given(), "reader")
    feedback.close()
    change(path)
    before = path.read_bytes()
    with pytest.raises(KoreanLLMError, match=words) as refused:
        Feedback(path)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"feedback.sqlite cannot be opened for writing"):
        Feedback(tmp_path / "records" / "feedback.sqlite")


def test_a_key_cut_by_citations_leaves_the_rest(feedback: Feedback) -> None:
    answer = given("월요일에 쉽니다. [1]")
    feedback.remember(replace(answer, pieces=(*answer.pieces, Piece(" 끝"))), "reader")
    assert [piece.citation for piece in feedback.of("reader")[0].answer.pieces] == [None, answer.citations[0], None]
