"""A reader's session: what a click may name, what history is, and what a reload or a restart brings back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from korean_llm.answering import session as room
from korean_llm.answering.answer import Answer, Turn
from korean_llm.answering.library import Library
from korean_llm.answering.session import MAX_HISTORY, Exchange, Session, Sessions
from korean_llm.machine import Machine

CPU = Machine("cpu", 1)
QUESTION = "도서관은 무슨 요일에 쉬나요?"


@pytest.fixture
def sessions(own_run: Path) -> Iterator[Sessions]:
    opened = Sessions(own_run, CPU)
    yield opened
    opened.close()


def answered(library: Library, sessions: Sessions, session: Session, question: str = QUESTION) -> Exchange:
    exchange = Exchange(question, library.answerer("extractive").answer(question))
    sessions.remember(session, exchange)
    session.exchanges.append(exchange)
    return exchange


def test_a_restart_brings_back_answers_votes_and_edits(own_run: Path, library: Library) -> None:
    before = Sessions(own_run, CPU)
    session = before.open("")
    first, second = answered(library, before, session), answered(library, before, session, "배추는 몇 시간 절이나요?")
    assert before.record(first, "up") and before.record(second, "edit", "여섯 시간입니다.")
    assert before.record(first, "citation", "1")
    before.close()

    after = Sessions(own_run, CPU)
    again = after.open(session.id)
    assert [exchange.question for exchange in again.exchanges] == [first.question, second.question]
    answer = again.exchanges[0].answer
    assert answer and first.answer
    assert (answer.text, answer.citations) == (first.answer.text, first.answer.citations)
    assert (again.exchanges[0].vote, again.exchanges[1].edited) == ("up", "여섯 시간입니다.")
    assert again.cited("0:c:1") == session.cited("0:c:1") is not None
    after.close()


@pytest.mark.parametrize("id", ["", "short", "가" * 30, "../../etc/passwd/and/more", "a" * 40])
def test_an_id_that_is_none_of_ours_opens_a_session_of_its_own(sessions: Sessions, id: str) -> None:
    opened = sessions.open(id)
    assert opened.id != id and len(opened.id) >= 32 and opened.exchanges == []
    assert sessions.open(opened.id) is opened


def test_a_second_try_takes_the_first_ones_place_also_after_a_restart(own_run: Path, library: Library) -> None:
    before = Sessions(own_run, CPU)
    session = before.open("")
    old, new = answered(library, before, session), answered(library, before, session)
    before.record(old, "regenerate", new.id)
    before.close()
    after = Sessions(own_run, CPU)
    assert [exchange.id for exchange in after.open(session.id).exchanges] == [new.id]
    after.close()


def test_a_new_conversation_keeps_the_documents(sessions: Sessions, library: Library, tmp_path: Path) -> None:
    session = sessions.open("")
    answered(library, sessions, session)
    path = tmp_path / "안내.txt"
    path.write_text("느티나무 회관은 수요일에 엽니다.", encoding="utf-8")
    list(session.uploads.add([path]))
    fresh = sessions.renew(session)
    assert fresh.id != session.id and fresh.exchanges == [] and session.closed
    assert fresh.uploads.num_documents == 1 and session.uploads.num_documents == 0
    assert fresh.index("run", library.index) is library.index is session.index("own", library.index)
    assert fresh.index("own", library.index) is fresh.uploads.index


def test_history_is_the_last_answered_turns_where_a_question_leans(sessions: Sessions, library: Library) -> None:
    session = sessions.open("")
    for number in range(MAX_HISTORY + 2):
        answer = Answer(str(number), "extractive", (), (), found=number != 3)
        session.exchanges.append(Exchange(str(number), answer, edited=f"고침 {number}"))
    session.exchanges.append(Exchange("실패", problem="no"))
    turns = [Turn(str(number), f"고침 {number}") for number in (1, 2, 4, 5)]
    assert session.history("그럼 일요일은요?", 99) == tuple(turns)
    assert session.history("그럼 일요일은요?", 0) == ()
    assert session.history("배추는 몇 시간 절이나요?", 99) == ()


def test_a_document_that_says_something_else_is_not_the_source(sessions: Sessions, library: Library) -> None:
    session = sessions.open("")
    exchange = answered(library, sessions, session)
    assert exchange.answer is not None
    citation = exchange.answer.citations[0]
    found = session.document(citation, library.index)
    assert found is not None and found.text[citation.start : citation.end] == citation.text
    moved = replace(citation, start=citation.start + 1)
    assert session.document(moved, library.index) is None


def test_idle_and_surplus_sessions_go_with_their_documents(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sessions.open("")
    path = tmp_path / "안내.txt"
    path.write_text("느티나무 회관은 수요일에 엽니다.", encoding="utf-8")
    list(session.uploads.add([path]))
    index = session.uploads.index
    assert index is not None and index.folder.exists()
    monkeypatch.setattr(room, "MAX_SESSIONS", 2)
    sessions.open("")
    assert index.folder.exists()
    sessions.open("")
    assert not index.folder.exists() and session.uploads.index is None
