"""Documents of a corpus artifact, and the openings of held-out ones that models are measured on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from korean_llm.corpus.documents import HOLDOUT, Document, holdout_texts, read_documents, read_shares


def write_holdout(folder: Path, documents: list[tuple[str, str]]) -> Path:
    """A hold-out file of (language, text)."""
    with gzip.open(folder / HOLDOUT, "wt", encoding="utf-8") as file:
        for number, (language, text) in enumerate(documents):
            row = {"id": f"d{number}", "source": "s", "language": language, "title": "", "text": text}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return folder


def test_documents_come_back_in_order(tmp_path: Path) -> None:
    write_holdout(tmp_path, [("ko", "줄\u2028하나\n둘"), ("en", "b")])
    assert list(read_documents(tmp_path / HOLDOUT)) == [
        Document("d0", "s", "ko", "", "줄\u2028하나\n둘"),
        Document("d1", "s", "en", "", "b"),
    ]


def test_shares_come_back(tmp_path: Path) -> None:
    (tmp_path / "shares.json").write_text('{"가": 0.25, "b": 0.75}', encoding="utf-8")
    assert read_shares(tmp_path) == {"가": 0.25, "b": 0.75}


@pytest.mark.parametrize(("number", "max_bytes"), [(1, 900), (3, 900), (40, 3_000), (40, 60_000), (7, 5_000)])
def test_openings_are_whole_characters_and_fill_the_room(tmp_path: Path, number: int, max_bytes: int) -> None:
    texts = [f"{chr(0xAC00 + n)}글" + "가나 " * 2_000 for n in range(number)]
    found = holdout_texts(write_holdout(tmp_path, [("ko", text) for text in texts]), max_bytes)["ko"]
    whole = [next(text for text in texts if text.startswith(opening)) for opening in found]
    assert len(set(whole)) == len(found) == max(1, min(number, max_bytes // 1_500))
    size = sum(len(opening.encode()) for opening in found)
    assert max_bytes - 3 * len(found) <= size <= max_bytes, "each loses less than one character"


def test_openings_are_spread_evenly_over_the_documents(tmp_path: Path) -> None:
    write_holdout(tmp_path, [("ko", f"{n:03d}" + "가" * 3_000) for n in range(100)])
    numbers = [int(text[:3]) for text in holdout_texts(tmp_path, 15_000)["ko"]]
    assert numbers == list(range(0, 100, 10))


def test_languages_are_apart_and_each_has_the_room(tmp_path: Path) -> None:
    write_holdout(tmp_path, [("ko", "가" * 900), ("en", "a" * 900), ("ko", "나" * 900)])
    found = holdout_texts(tmp_path, 3_000)
    assert list(found) == ["en", "ko"]
    assert found["en"] == ["a" * 900]
    assert found["ko"] == ["가" * 500, "나" * 500]


def test_nothing_held_out_is_nothing_to_measure(tmp_path: Path) -> None:
    assert holdout_texts(write_holdout(tmp_path, []), 1_000) == {}
