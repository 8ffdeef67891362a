"""Corpus cards: every way to name a corpus, every error said in one sentence, what a fingerprint covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from korean_llm.artifact import hash_file
from korean_llm.corpus.card import FIELDS, Card, list_cards, load_card
from korean_llm.errors import KoreanLLMError

SHA256 = "a" * 64
STANDARD: dict[str, Any] = {
    "title": "글",
    "kind": "documents",
    "language": "ko",
    "licence": "CC0-1.0",
    "source": "이 시험",
    "files": {"documents.jsonl": SHA256},
}
WHEEL = {"package": "p", "version": "1", "files": {"p/text.txt": SHA256}}


def write_card(folder: Path, **changes: Any) -> Card:
    folder.mkdir(parents=True, exist_ok=True)
    values = {key: value for key, value in {**STANDARD, **changes}.items() if value is not None}
    (folder / "card.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return load_card(folder)


def test_a_folder_with_a_card(tmp_path: Path) -> None:
    card = write_card(tmp_path / "강가-글")
    assert (card.name, card.folder) == ("강가-글", (tmp_path / "강가-글").resolve())
    assert card.model.files == {"documents.jsonl": SHA256}
    assert load_card(str(tmp_path / "강가-글")) == card


def test_a_corpus_by_name_is_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """corpora/ of the working directory comes before the project's own, and both are listed."""
    write_card(tmp_path / "corpora" / "prose-ko", title="여기 것")
    write_card(tmp_path / "corpora" / "mine")
    monkeypatch.chdir(tmp_path)
    assert load_card("prose-ko").model.title == "여기 것"
    assert load_card("prose-en").folder == Path(__file__).resolve().parents[2] / "corpora" / "prose-en"
    assert {"mine", "prose-ko", "prose-en"} <= set(list_cards())
    assert list_cards() == sorted(set(list_cards()))


def test_a_bare_file_gets_a_card_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "내 글.txt").write_text("봄이 온다.", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    card = load_card("./내 글.txt")
    assert (card.name, card.folder, card.model.kind) == ("내 글", tmp_path.resolve(), "documents")
    assert card.model.files == {"내 글.txt": hash_file(tmp_path / "내 글.txt")}


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_card("~/mine").name == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prose-kr", "no corpus is called 'prose-kr'; did you mean 'prose-ko'?"),
        ("wikimedia/wikipedia", "no corpus is called 'wikimedia/wikipedia'; did you mean"),
        ("zzzzzz", "there are: answers-ko, constitution-ko"),
        ("./none.jsonl", "corpus none.jsonl does not exist; give a corpus name"),
        ("./empty", "empty holds no card.yaml; write one"),
        ("./table.xlsx", "table.xlsx is of no known format; expected one of: .jsonl, .jsonl.gz"),
    ],
)
def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.xlsx").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    if name == "wikimedia/wikipedia":  # a Hub id is not a corpus: it needs a card that says what its columns mean
        words = "no corpus is called 'wikimedia/wikipedia'"
    with pytest.raises(KoreanLLMError) as caught:
        load_card(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": None}, "expected exactly one of files, wheel, hub"),
        ({"hub": {"id": "org/data"}}, "expected exactly one of files, wheel, hub"),
        ({"files": None, "wheel": {**WHEEL, "files": {}}}, "wheel.files: "),
        ({"files": None, "wheel": {**WHEEL, "encoding": "cp9999"}}, "expected an encoding that Python knows"),
        ({"files": {"a.txt": "A" * 64}}, "files.a.txt: "),
        ({"files": {"a.txt": "a" * 63}}, "files.a.txt: "),
        ({"kind": "poems"}, "kind: 'poems' is not accepted; expected 'documents', 'instructions'"),
        ({"language": "ja"}, "language: 'ja' is not accepted; expected 'ko' or 'en'"),
        ({"licence": None}, "licence: missing"),
        ({"license": "MIT"}, "license: unknown key; did you mean 'licence'?"),
    ],
)
def test_cards_with_errors(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(KoreanLLMError) as caught:
        write_card(tmp_path / "wrong", **changes)
    assert words in str(caught.value)
    assert str(tmp_path / "wrong" / "card.yaml") in str(caught.value)


def test_every_error_of_a_card_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match="3 errors") as caught:
        write_card(tmp_path / "wrong", kind="poems", language="ja", licence=None)
    assert all(word in str(caught.value) for word in ("kind:", "language:", "licence:"))


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({}, False),
        ({"title": "다른 제목", "licence": "MIT", "source": "저기", "note": "적바림", "counts": {"rows": 3}}, False),
        ({"files": {"documents.jsonl": "b" * 64}}, True),
        ({"files": {"other.jsonl": SHA256}}, True),
        ({"language": "en"}, True),
        ({"kind": "questions"}, True),
        ({"columns": {"text": "body"}}, True),
        ({"files": None, "hub": {"id": "org/data"}}, True),
    ],
)
def test_the_fingerprint_covers_the_data_and_how_it_is_read(tmp_path: Path, changes: dict, moves: bool) -> None:
    standard = write_card(tmp_path / "one").fingerprint
    assert (write_card(tmp_path / "two", **changes).fingerprint != standard) == moves


def test_the_fingerprint_of_hub_and_wheel_cards(tmp_path: Path) -> None:
    places: list[dict[str, Any]] = [
        {"hub": {"id": "org/data"}},
        {"hub": {"id": "org/data", "revision": "v2"}},
        {"hub": {"id": "org/data", "subset": "ko"}},
        {"hub": {"id": "org/data", "split": "test"}},
        {"wheel": WHEEL},
        {"wheel": {**WHEEL, "version": "2"}},
        {"wheel": {**WHEEL, "encoding": "cp949"}},
    ]
    found = {write_card(tmp_path / str(n), files=None, **place).fingerprint for n, place in enumerate(places)}
    assert len(found) == len(places)


def test_the_fields_of_every_kind_begin_with_an_id() -> None:
    assert set(FIELDS) == {"documents", "instructions", "preferences", "questions"}
    assert all(fields[0] == "id" and len(set(fields)) == len(fields) for fields in FIELDS.values())
