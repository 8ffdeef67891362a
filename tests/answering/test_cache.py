"""Kept answers: given again to the same question only, and only while everything they were made of is unchanged."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from korean_llm.answering.answer import Answer, Answerer, Mode, Piece, Request, Sampling, Step, Trace, Turn
from korean_llm.answering.cache.answerer import CachedAnswerer, KeptAnswers
from korean_llm.answering.cite import verified
from korean_llm.answering.extractive import ExtractiveAnswerer
from korean_llm.answering.record import as_json, from_json
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from tests.answering.conftest import DOCUMENTS, text_of
from tests.answering.question_pairs import read_pairs
from tests.retrieval.conftest import encoder

__all__ = ["encoder"]

QUESTION = "도서관은 무슨 요일에 쉬나요?"
SAME = "도서관이 무슨 요일에 쉬는지 알려 주세요."
OTHER = "도서관은 무슨 요일에 안 쉬나요?"


class Counted(Answerer):
    """An answerer that counts how often it is asked; `change` edits its answers."""

    def __init__(self, answerer: Answerer, **change: object) -> None:
        self.answerer, self.mode, self.notice, self.change = answerer, answerer.mode, answerer.notice, change
        self.asked = 0

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        self.asked += 1
        for piece in self.answerer.stream(asked, stop):
            yield replace(piece, answer=replace(piece.answer, **self.change)) if piece.answer else piece


class Parrot(Answerer):
    """Answers any question with one verified citation, at no cost: for thousands of pairs."""

    mode: Mode = "extractive"
    notice = "알림"

    def __init__(self, index: Index) -> None:
        citation = verified(index, 1, "library", 0, 10, text_of("library")[:10])
        assert citation is not None
        self.pieces = (Piece(citation.text), Piece(" "), Piece("[1]", citation))

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        question = Request.of(asked).question
        yield from self.pieces
        yield Piece("", answer=Answer(question, self.mode, self.pieces, (self.pieces[-1].citation,), notice="알림"))


@pytest.fixture
def kept(tmp_path: Path) -> KeptAnswers:
    return KeptAnswers(tmp_path / "records" / "kept.sqlite")


@pytest.fixture
def inner(index: Index) -> Counted:
    return Counted(ExtractiveAnswerer(index, "알림"))


@pytest.fixture
def cached(inner: Counted, kept: KeptAnswers, index: Index) -> CachedAnswerer:
    return CachedAnswerer(inner, kept, index, "model")


@pytest.fixture
def own_index(tmp_path: Path) -> Index:
    return Index.build(DOCUMENTS, tmp_path / "index")


def test_a_hit_streams_the_same_pieces_and_names_the_first_question(cached: CachedAnswerer, inner: Counted) -> None:
    first = cached.answer(QUESTION)
    assert first.kept_from == "" and first.citations
    for question in (QUESTION, f"  {QUESTION[:-1]} !", SAME):
        *pieces, last = cached.stream(question)
        assert tuple(pieces) == first.pieces and last.answer is not None
        assert last.answer == replace(first, question=last.answer.question, kept_from=QUESTION)
        assert last.answer.question == question.strip()
    assert inner.asked == 1


def test_another_question_is_answered_anew(cached: CachedAnswerer, inner: Counted) -> None:
    cached.answer(QUESTION)
    for question in (OTHER, "도서관은 무슨 요일에 여나요?", "은행은 무슨 요일에 쉬나요?"):
        assert cached.answer(question).kept_from == ""
    assert inner.asked == 4


def test_afresh_passes_over_what_is_kept_and_replaces_it(cached: CachedAnswerer, inner: Counted) -> None:
    cached.answer(QUESTION)
    assert cached.answer(Request(SAME, fresh=True)).kept_from == ""
    assert cached.answer(QUESTION).kept_from == SAME and len(cached.kept) == 1
    assert inner.asked == 2


def test_no_adversarial_pair_is_served_and_many_paraphrases_are(index: Index, kept: KeptAnswers) -> None:
    pairs = [*read_pairs("adversarial_pairs.txt"), *read_pairs("adversarial_late.txt")]
    parrot = Parrot(index)
    assert len(pairs) >= 2_000 and not [pair for pair in pairs if _served(parrot, kept, index, *pair)]
    pairs = read_pairs("paraphrase_pairs.txt")
    hits = sum(_served(parrot, kept, index, *pair) for pair in pairs)
    assert len(pairs) >= 300 and hits >= 0.3 * len(pairs)


def _served(answerer: Answerer, kept: KeptAnswers, index: Index, a: str, b: str) -> bool:
    """Whether b gets the answer of a, kept where nothing else is."""
    cached = CachedAnswerer(answerer, kept, index, f"only {a} {b}")
    assert cached.answer(a).kept_from == ""
    return cached.answer(b).kept_from == a


def test_the_gate_decides_where_the_encoder_proposes(encoder: Path, kept: KeptAnswers, tmp_path: Path) -> None:
    dense = Index.build(DOCUMENTS, tmp_path / "dense", encoder=encoder, machine=Machine("cpu", 1))
    cached = CachedAnswerer(Parrot(dense), kept, dense)
    asked = "와이파이 비밀번호가 뭐예요?"
    cached.answer(asked)
    vector = dense.dense.encoder.query(asked)
    scope = cached._scope(Request(asked))
    assert [entry.question for entry in kept.near(scope, vector, -1.0, 5)] == [asked]
    assert kept.near(scope, -vector, 0.5, 5) == [] and kept.near("other", vector, -1.0, 5) == []
    assert cached.answer("와이파이 비밀번호가 뭐가 아니에요?").kept_from == ""


@pytest.mark.parametrize(
    "request_",
    [
        Request(QUESTION, history=(Turn("도서관은?", "네."),)),
        Request(QUESTION, sampling=Sampling(temperature=0.7)),
        Request("오늘 도서관은 무슨 요일에 쉬나요?"),
        Request("도서관은 다음 주 무슨 요일에 쉬나요?"),
        Request("양자 컴퓨터의 얽힘 상태를 설명해 주세요"),
    ],
)
def test_what_is_not_kept(cached: CachedAnswerer, request_: Request) -> None:
    cached.answer(request_)
    assert len(cached.kept) == 0


@pytest.mark.parametrize(
    "change", [{"stopped": True}, {"found": False}, {"citations": ()}, {"understood": "도서관은?"}]
)
def test_answers_not_worth_keeping(index: Index, kept: KeptAnswers, change: dict[str, object]) -> None:
    CachedAnswerer(Counted(ExtractiveAnswerer(index, ""), **change), kept, index).answer(QUESTION)
    assert len(kept) == 0


def test_an_answer_nobody_waited_for_is_not_kept(cached: CachedAnswerer) -> None:
    stream = cached.stream(QUESTION)
    next(stream)
    stream.close()
    assert len(cached.kept) == 0


def test_a_reader_may_stop_a_kept_answer(cached: CachedAnswerer) -> None:
    whole = cached.answer(QUESTION)
    stop = Event()
    stream = cached.stream(QUESTION, stop)
    said = [next(stream)]
    stop.set()
    answer = list(stream)[-1].answer
    assert answer is not None and answer.stopped and answer.kept_from and answer.text == said[0].text
    assert answer.citations == () and cached.answer(QUESTION).text == whole.text


def test_another_model_prompt_or_sampling_has_its_own_answers(inner: Counted, kept: KeptAnswers, index: Index) -> None:
    makers = [("a", "", ""), ("b", "", ""), ("a", "adapter", ""), ("a", "", "prompt"), ("a", "", "")]
    served = [CachedAnswerer(inner, kept, index, *made).answer(QUESTION).kept_from != "" for made in makers]
    assert served == [False, False, False, False, True]
    cached = CachedAnswerer(inner, kept, index, "a")
    assert not cached.answer(Request(QUESTION, sampling=Sampling(max_new_tokens=5))).kept_from


@pytest.mark.parametrize("how", ["update", "delete", "add", "update another"])
def test_a_changed_document_leaves_no_stale_answer(own_index: Index, kept: KeptAnswers, how: str) -> None:
    cached = CachedAnswerer(ExtractiveAnswerer(own_index, ""), kept, own_index)
    assert "월요일" in cached.answer(QUESTION).text and cached.answer(SAME).kept_from
    friday = text_of("library").replace("월요일", "금요일")
    if how == "update":
        own_index.update([{"id": "library", "title": "버들도서관 이용 안내", "text": friday}])
    elif how == "delete":
        own_index.delete(["library"])
    elif how == "add":
        own_index.add([{"id": "notice", "title": "버들도서관 새 소식", "text": friday}])
    else:
        own_index.update([{"id": "river", "title": "", "text": "강가에 새 버들도서관이 금요일에 문을 엽니다."}])
    for question in (QUESTION, SAME):
        answer = cached.answer(Request(question))
        assert not answer.kept_from or question == SAME  # the first one after the change is made anew
        assert how not in ("update", "delete") or "월요일" not in answer.text
        assert all(own_index.document(c.document_id).text[c.start : c.end] == c.text for c in answer.citations)


def test_the_fingerprint_follows_the_content(own_index: Index, tmp_path: Path) -> None:
    before = own_index.fingerprint
    assert Index.open(own_index.folder).fingerprint == before
    assert Index.build(DOCUMENTS, tmp_path / "again").fingerprint == before
    seen = {before}
    own_index.add([{"id": "new", "text": "새 글입니다."}])
    seen.add(own_index.fingerprint)
    own_index.update([{"id": "new", "text": "새 말입니다."}])
    seen.add(own_index.fingerprint)
    own_index.delete(["new"])
    seen.add(own_index.fingerprint)
    assert len(seen) >= 3 and own_index.fingerprint not in seen - {before, own_index.fingerprint}
    same_length = [{**row, "text": row["text"].replace("월요일", "금요일")} for row in DOCUMENTS]
    assert Index.build(same_length, tmp_path / "other").fingerprint != before


def test_a_kept_citation_that_does_not_stand_is_dropped(cached: CachedAnswerer, inner: Counted) -> None:
    first = cached.answer(QUESTION)
    false = replace(first.citations[0], text="지어낸 글", end=first.citations[0].start + 5)
    with sqlite3.connect(cached.kept.path) as db:
        db.execute("UPDATE answers SET answer = ?", (as_json(replace(first, citations=(false,))),))
    assert cached.answer(QUESTION).kept_from == "" and inner.asked == 2
    with sqlite3.connect(cached.kept.path) as db:
        db.execute("UPDATE answers SET answer = '{'")
    assert cached.answer(SAME).kept_from == "" and inner.asked == 3 and len(cached.kept) == 1


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path / "kept.sqlite", max_entries=3)
    for number in range(3):
        kept.keep("s", f"{number}", "w", f"{number}", "{}")
    kept.touch(kept.exact("s", "0")[0])
    kept.keep("s", "3", "w", "3", "{}")
    assert [entry.question for entry in kept.alike("s", "w")] == ["3", "0", "2"]
    kept.clear()
    assert len(kept) == 0


@pytest.mark.parametrize("damage", ["garbage", "truncated", "another"])
def test_a_damaged_file_is_set_aside(cached: CachedAnswerer, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    cached.answer(QUESTION)
    path = cached.kept.path
    cached.kept.close()
    if damage == "another":
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
    else:
        path.write_bytes(b"no database " * 500 if damage == "garbage" else path.read_bytes()[:5000])
    assert cached.answer(QUESTION).kept_from == ""
    assert cached.answer(QUESTION).kept_from == QUESTION
    assert "damaged" in capsys.readouterr().err
    assert len([one for one in path.parent.iterdir() if ".damaged-" in one.name]) >= 1


def test_answers_go_on_where_nothing_can_be_kept(inner: Counted, index: Index, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for place in (tmp_path / "file" / "kept.sqlite", tmp_path):
        cached = CachedAnswerer(inner, KeptAnswers(place), index)
        assert cached.answer(QUESTION).citations and cached.answer(QUESTION).kept_from == ""
    assert len(KeptAnswers(tmp_path)) == 0


def test_threads_and_processes_share_the_file(kept: KeptAnswers) -> None:
    code = (
        "import sys; from korean_llm.answering.cache.store import KeptAnswers; kept = KeptAnswers(sys.argv[1])\n"
        "for n in range(40): kept.keep(sys.argv[2], str(n), 'w', 'q', '{}'); assert kept.exact(sys.argv[2], str(n))"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(kept.path), name]) for name in ("a", "b")]
    threads = [
        Thread(target=lambda n=name: [kept.keep(n, str(i), "w", "q", "{}") for i in range(40)]) for name in ("c", "d")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(kept) == 160 and all(len(kept.alike(name, "w")) == 40 for name in "abcd")


def test_an_answer_as_json_and_back(inner: Counted) -> None:
    answer = inner.answer(QUESTION)
    trace = Trace(({"role": "user", "content": "질문"},), answer.trace.hits, "i", "m", "a", 0.5, 1.0)
    whole = replace(answer, steps=(Step("search", "도서관", "1건"),), trace=trace, nearest=answer.citations)
    again = from_json(as_json(whole))
    assert again == whole and again.trace == whole.trace
