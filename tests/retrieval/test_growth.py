"""Growth: an index that grew ranks as one built at once, and a kill leaves the old index or the new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

import pytest

from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Hit, Index
from korean_llm.retrieval.store import writing
from tests.retrieval.conftest import DOCUMENTS, WORDS

SALAD = [*WORDS, "서버"]
QUESTIONS = [
    "도서관",
    "버드나무 강가",
    "은행 계좌 이체",
    "소금물에 절인 배추김치",
    "없는낱말쀍",
    "지방자치단체장의 GPU 서버",
]


def document(id: str, dice: random.Random) -> dict[str, str]:
    paragraphs = [" ".join(dice.choices(SALAD, k=dice.randint(1, 40))) for _ in range(dice.randint(1, 3))]
    return {"id": id, "title": dice.choice(["", dice.choice(SALAD)]), "text": "\n\n".join(paragraphs)}


def found(index: Index) -> list[list[tuple]]:
    def plain(hit: Hit) -> tuple:
        return hit.document_id, hit.start, hit.end, hit.text, hit.title, hit.score, hit.lexical

    return [[plain(hit) for hit in index.search(question, k=10)] for question in QUESTIONS]


@pytest.mark.parametrize("seed", range(3))
def test_random_growth_ranks_exactly_as_a_full_rebuild(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    live = {f"d{n}": document(f"d{n}", dice) for n in range(12)}
    grown = Index.build(live.values(), tmp_path / "grown")
    for step in range(12):
        kind = dice.choice(["add", "update", "delete", "both"] + ["compact"] * (step % 5 == 4))
        if kind == "add":
            new = [document(f"s{step}-{n}", dice) for n in range(dice.randint(1, 3))]
            grown.add(new)
            live |= {row["id"]: row for row in new}
        elif kind in ("update", "both"):
            changed = [document(id, dice) for id in dice.sample(sorted(live), min(2, len(live)))]
            changed += [document(f"s{step}", dice)] if kind == "both" else []
            grown.update(changed)
            live |= {row["id"]: row for row in changed}
        elif kind == "delete":
            gone = dice.sample(sorted(live), min(2, len(live) - 1))
            grown.delete(gone)
            live = {id: row for id, row in live.items() if id not in gone}
        else:
            grown.compact()
    rebuilt = Index.build(live.values(), tmp_path / "rebuilt")
    assert found(grown) == found(rebuilt) == found(Index.open(tmp_path / "grown"))
    assert {row.id: row for row in grown.documents} == {row.id: row for row in rebuilt.documents}
    assert all(grown.document(id).text == row["text"] for id, row in live.items())


def test_many_small_additions_are_merged(tmp_path: Path) -> None:
    dice = random.Random(9)
    rows = [document(f"d{n}", dice) for n in range(24)]
    grown = Index.build(rows[:4], tmp_path / "grown")
    for row in rows[4:]:
        grown.add([row])
    assert len(list((tmp_path / "grown" / "segments").iterdir())) == len(grown.state.segments) <= 9
    assert found(grown) == found(Index.build(rows, tmp_path / "rebuilt"))


def test_dense_growth(encoder: Path, tmp_path: Path) -> None:
    grown = Index.build(DOCUMENTS[:2], tmp_path / "grown", encoder=encoder)
    grown.add(DOCUMENTS[2:])
    grown.update([{**DOCUMENTS[0], "text": "도서관은 이제 화요일에 쉽니다."}])
    grown.delete(["kimchi"])
    live = [{**DOCUMENTS[0], "text": "도서관은 이제 화요일에 쉽니다."}, *DOCUMENTS[2:]]
    rebuilt = Index.build(live, tmp_path / "rebuilt", encoder=encoder)
    for compacted in (False, True):
        if compacted:
            grown.compact()
        for question in ("도서관은 언제 쉬나요?", "계좌 이체", "버드나무"):
            ours, theirs = grown.search(question), rebuilt.search(question)
            assert [hit.document_id for hit in ours] == [hit.document_id for hit in theirs]
            assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-4)
            assert [hit.focus for hit in ours] == [hit.focus for hit in theirs]


def test_an_index_may_be_emptied_and_filled_again(tmp_path: Path) -> None:
    index = Index.build(DOCUMENTS, tmp_path)
    index.delete([row["id"] for row in DOCUMENTS])
    assert index.search("도서관") == [] and len(index.documents) == 0
    index.add(DOCUMENTS[:1])
    assert index.search("도서관")[0].document_id == "library"


def test_an_open_index_answers_as_before_while_others_write(tmp_path: Path) -> None:
    reader = Index.build(DOCUMENTS, tmp_path)
    before = found(reader)
    other = Index.open(tmp_path)
    other.delete(["library"])
    other.compact()
    assert found(reader) == before
    assert found(Index.open(tmp_path)) == found(other) != before


def test_wrong_ids_change_nothing(tmp_path: Path) -> None:
    index = Index.build(DOCUMENTS, tmp_path)
    with pytest.raises(KoreanLLMError, match=r"'library' is in .* already; update it"):
        index.add([{"id": "new", "text": "글"}, DOCUMENTS[0]])
    with pytest.raises(KoreanLLMError, match="'nobody' is not in the index"):
        index.delete(["kimchi", "nobody"])
    with pytest.raises(KoreanLLMError, match="stands twice"):
        index.update([DOCUMENTS[0], DOCUMENTS[0]])
    assert {row.id for row in Index.open(tmp_path).documents} == {row["id"] for row in DOCUMENTS}


def test_only_one_process_writes_and_a_runs_index_is_left_alone(tmp_path: Path) -> None:
    index = Index.build(DOCUMENTS, tmp_path)
    with writing(tmp_path), pytest.raises(KoreanLLMError, match="another process is writing"):
        index.delete(["kimchi"])
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match="belongs to a run"):
        index.delete(["kimchi"])


STEPS = {
    "save_arrays",
    "save",
    "sync",
    "write_json",
    "clean",
    "commit",
    "without",
    "write_segment",
    "rmtree",
    "mkdir",
}
CHANGED = [{**DOCUMENTS[0], "text": "도서관은 이제 화요일에 쉽니다."}, {"id": "new", "text": "새 글의 배추와 은행"}]


def change(folder: Path, killed_at: int) -> int:
    """Update and compact in a process of its own that kills itself before or after its n-th step; its exit status."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal seen
        if event in ("call", "return") and frame.f_code.co_name in STEPS:
            seen += 1
            if seen == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        index = Index.open(folder)
        sys.setprofile(count)
        index.update(CHANGED)
        index.compact()
    finally:
        os._exit(0 if sys.exc_info()[0] is None else 1)


def test_killed_at_any_point_it_answers_as_before_or_after(tmp_path: Path) -> None:
    original = tmp_path / "original"
    before = found(Index.build(DOCUMENTS, original))
    live = {row["id"]: row for row in [*DOCUMENTS, *CHANGED]}
    after = found(Index.build(live.values(), tmp_path / "after"))
    seen_before = seen_after = 0
    for killed_at in range(1, 1_000, 7):
        folder = tmp_path / f"killed-{killed_at}"
        shutil.copytree(original, folder)
        status = change(folder, killed_at)
        answers = found(Index.open(folder))
        assert answers in (before, after)
        seen_before, seen_after = seen_before + (answers == before), seen_after + (answers == after)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        index = Index.open(folder)
        index.update(CHANGED)  # the next writer clears away what was left
        assert found(index) == after
        assert len(index.state.segments) == len(list((folder / "segments").iterdir()))
    assert status == 0 and seen_before > 5 and seen_after > 5
