"""Readers: the same rows come out of every format; what is damaged is named with file and line."""

from __future__ import annotations

import gzip
import io
import json
import os
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from korean_llm.artifact import hash_file
from korean_llm.corpus.card import Card, CardModel, Kind, load_card
from korean_llm.corpus.read import read_rows
from korean_llm.errors import KoreanLLMError

ROWS = [
    {"id": "a", "title": "강가", "text": "버드나무가\n가지를 늘어뜨린다."},
    {"id": "b", "title": "", "text": "장터에 '국밥' 냄새가 난다."},
    {"id": "c", "title": "빈 줄", "text": "첫째 문단.\n\n둘째 문단."},
]


def json_lines(rows: list[dict[str, Any]], **options: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, **options) + "\n" for row in rows).encode()


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    return file.getvalue()


def card_of(folder: Path, files: dict[str, bytes], kind: Kind = "documents", **more: Any) -> Card:
    """A card over files with the given bytes."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    found = {name: hash_file(folder / name) for name in files}
    model = CardModel(title="t", kind=kind, language="ko", licence="l", source="s", files=found, **more)
    return Card("mine", folder, model)


# ---- formats


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.jsonl", json_lines(ROWS)),
        ("rows.jsonl", json_lines(ROWS).removesuffix(b"\n")),
        ("rows.jsonl", json_lines(ROWS).replace(b"\n", b"\r\n")),
        ("rows.jsonl", b"\xef\xbb\xbf" + json_lines(ROWS)),
        ("rows.jsonl", b"\n" + json_lines(ROWS).replace(b"\n", b"\n \n")),
        ("rows.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode("ascii")),
        ("rows.jsonl.gz", zipped(json_lines(ROWS))),
        ("rows.json.gz", zipped(json_lines(ROWS[:1])) + zipped(json_lines(ROWS[1:]))),
        ("rows.parquet", parquet(ROWS)),
    ],
    ids=["plain", "no last line end", "CRLF", "byte order mark", "blank lines", "escaped", "gz", "gz twice", "parquet"],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, data: bytes) -> None:
    assert list(read_rows(card_of(tmp_path, {name: data}))) == ROWS
    assert list(read_rows(load_card(tmp_path / name))) == ROWS, "also without a card"


def test_many_row_groups_of_parquet_in_order(tmp_path: Path) -> None:
    rows = [{"id": str(n), "title": "", "text": f"{n}번째 글"} for n in range(2_345)]
    assert list(read_rows(card_of(tmp_path, {"rows.parquet": parquet(rows)}))) == rows


@pytest.mark.parametrize(("name", "pack"), [("봄 글.txt", bytes), ("봄 글.txt.gz", zipped), ("봄 글.md", bytes)])
def test_a_text_file_is_one_document(tmp_path: Path, name: str, pack: Any) -> None:
    text = "  봄이 온다  \n\n강이 풀린다.\n"
    rows = list(read_rows(card_of(tmp_path, {name: pack(text.encode())})))
    assert rows == [{"id": "봄 글", "title": "봄이 온다", "text": text}]


def test_several_files_are_read_in_the_order_of_the_card(tmp_path: Path) -> None:
    files = {
        "z.jsonl": json_lines(ROWS[:1]),
        "a.parquet": parquet(ROWS[1:2]),
        "m.jsonl.gz": zipped(json_lines(ROWS[2:])),
    }
    assert list(read_rows(card_of(tmp_path, files))) == ROWS


def test_line_ends_inside_json_text_end_no_row(tmp_path: Path) -> None:
    """U+2028, U+0085 and others are line ends for str.splitlines, but not for JSON lines."""
    text = "앞\u2028뒤\u2029또\x85끝\x0b\x0c\x1c"
    data = json.dumps({"id": "a", "title": "", "text": text}, ensure_ascii=False).encode() + b"\n"
    assert [row["text"] for row in read_rows(card_of(tmp_path, {"rows.jsonl": data}))] == [text]


# ---- fields


def test_text_is_composed_and_half_characters_replaced(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "각시 café")
    data = b'{"id": "a", "title": "\\ud83d", "text": ' + json.dumps(apart).encode() + b"}\n"
    (row,) = read_rows(card_of(tmp_path, {"rows.jsonl": data}))
    assert row == {"id": "a", "title": "\ufffd", "text": "각시 café"}
    whole = b'{"id": "a", "text": "\\ud83d\\ude00"}\n'
    assert next(read_rows(card_of(tmp_path, {"rows.jsonl": whole})))["text"] == "😀"


def test_ids_are_made_where_there_are_none_and_numbers_become_text(tmp_path: Path) -> None:
    rows = [{"text": "하나"}, {"id": 7, "text": "둘"}, {"id": None, "text": "셋", "title": None}]
    found = list(read_rows(card_of(tmp_path, {"rows.jsonl": json_lines(rows)})))
    assert [row["id"] for row in found] == ["mine-0", "7", "mine-2"]
    assert [row["title"] for row in found] == ["", "", ""]


def test_columns_of_another_name_are_found_and_others_left_out(tmp_path: Path) -> None:
    rows = [{"no": 1, "body": "글", "title": "제목", "text": "이것은 아니다", "extra": [1, 2]}]
    card = card_of(tmp_path, {"rows.jsonl": json_lines(rows)}, columns={"id": "no", "text": "body"})
    assert list(read_rows(card)) == [{"id": "1", "title": "제목", "text": "글"}]


@pytest.mark.parametrize(
    ("kind", "row", "missing"),
    [
        ("documents", {"id": "1", "title": "가"}, "text"),
        ("instructions", {"id": "1", "output": "나"}, "instruction"),
        ("preferences", {"id": "1", "prompt": "가", "chosen": "나"}, "rejected"),
        ("preferences", {"id": "1", "prompt": "가", "rejected": "나"}, "chosen"),
        ("questions", {"id": "1", "question": "가?", "document_id": "d", "answer": "나"}, "evidence"),
        ("questions", {"id": "1", "question": "가?", "evidence": "나"}, "document_id"),
    ],
)
def test_a_field_that_a_kind_must_have(tmp_path: Path, kind: Kind, row: dict[str, str], missing: str) -> None:
    card = card_of(tmp_path, {"rows.jsonl": json_lines([row])}, kind)
    with pytest.raises(KoreanLLMError, match=f"rows.jsonl line 1: expected text in the field '{missing}', found "):
        list(read_rows(card))


@pytest.mark.parametrize("value", [3, 1.5, True, ["글"], {"a": "글"}])
def test_text_that_is_not_text(tmp_path: Path, value: Any) -> None:
    data = json_lines([ROWS[0], {"id": "b", "text": value}])
    kind = type(value).__name__
    for name, place in (("rows.jsonl", "rows.jsonl line 2"), ("rows.parquet", "rows.parquet row 0")):
        packed = data if name == "rows.jsonl" else parquet([{"id": "b", "text": value}])
        with pytest.raises(
            KoreanLLMError, match=f"{place}: expected text in the field 'text', found a value of .* {kind}"
        ):
            list(read_rows(card_of(tmp_path, {name: packed})))


def test_the_row_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": None if n == 1_234 else "글"} for n in range(1_300)]
    with pytest.raises(KoreanLLMError, match=r"rows\.parquet row 1234: expected text in the field 'text'"):
        list(read_rows(card_of(tmp_path, {"rows.parquet": parquet(rows)})))


# ---- damage


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("rows.jsonl", json_lines(ROWS[:1]) + b'{"id": \n', "rows.jsonl line 2: not valid JSON"),
        ("rows.jsonl", b'{"id": ' + b"[" * 200_000, "rows.jsonl line 1: not valid JSON (nested too deep"),
        ("rows.jsonl", b'{"id": ' + b"1" * 5_000 + b"}", "rows.jsonl line 1: not valid JSON"),
        ("rows.jsonl", b"[1, 2]\n", "rows.jsonl line 1: expected a JSON object, found list"),
        ("rows.jsonl", "안녕".encode("cp949"), "rows.jsonl is not valid UTF-8 (byte 0xbe)"),
        ("rows.txt", "안녕".encode("cp949"), "iconv -f CP949 -t UTF-8 rows.txt"),
        ("rows.jsonl.gz", zipped(json_lines(ROWS * 50))[:-9], "rows.jsonl.gz is not a whole gzip file"),
        ("rows.txt.gz", b"no gzip", "rows.txt.gz is not a whole gzip file"),
        ("rows.parquet", b"PAR1 no parquet PAR1", "rows.parquet is not a readable Parquet file"),
        ("rows.parquet", parquet(ROWS)[:-20], "rows.parquet is not a readable Parquet file"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    with pytest.raises(KoreanLLMError) as caught:
        list(read_rows(card_of(tmp_path, {name: data})))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", range(0, 200, 13))
def test_a_changed_byte_of_gzip_never_ends_in_another_error(tmp_path: Path, place: int) -> None:
    """Whatever byte is hurt: the rows are right, or one sentence says that the file is not."""
    packed = bytearray(zipped(json_lines([{**row, "text": row["text"] * 9} for row in ROWS])))
    packed[place % len(packed)] ^= 0x55
    try:
        rows = list(read_rows(card_of(tmp_path, {"rows.jsonl.gz": bytes(packed)})))
    except KoreanLLMError as error:
        assert "rows.jsonl.gz" in str(error)
    else:
        assert [row["id"] for row in rows] == ["a", "b", "c"]


def test_a_file_that_is_not_what_the_card_says(tmp_path: Path) -> None:
    card = card_of(tmp_path, {"rows.jsonl": json_lines(ROWS)})
    (tmp_path / "rows.jsonl").write_bytes(json_lines(ROWS[:2]))
    with pytest.raises(KoreanLLMError) as caught:
        next(read_rows(card))
    assert hash_file(tmp_path / "rows.jsonl") in str(caught.value)
    assert (card.model.files or {})["rows.jsonl"] in str(caught.value)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(KoreanLLMError, match=r"rows\.jsonl of the corpus 'mine' is missing"):
        next(read_rows(card))


# ---- from elsewhere


def test_files_in_a_wheel_in_an_old_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "옛 글은 완성형으로 적혀 있다."
    data = text.encode("cp949")
    (tmp_path / "text.txt").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "oldtext-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("oldtext/text.txt", data)
        wheel.writestr("oldtext-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: oldtext\nVersion: 1.0\n")
        wheel.writestr("oldtext-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("oldtext-1.0.dist-info/RECORD", "")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", tmp_path), ("KOREAN_LLM_CACHE", tmp_path / "cache")):
        monkeypatch.setenv(name, str(value))
    files = {"oldtext/text.txt": hash_file(tmp_path / "text.txt")}
    place = {"package": "oldtext", "version": "1.0", "files": files, "encoding": "cp949"}
    values = {"title": "t", "kind": "documents", "language": "ko", "licence": "l", "source": "s"}
    card = Card("old", tmp_path, CardModel.model_validate({**values, "wheel": place}))
    assert list(read_rows(card)) == [{"id": "text", "title": text, "text": text}]


def test_a_hub_data_set_is_refused_in_one_sentence_offline(tmp_path: Path) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    model = CardModel(
        title="t", kind="documents", language="ko", licence="l", source="s", hub={"id": "org/no-such-data"}
    )  # type: ignore[arg-type]
    with pytest.raises(KoreanLLMError) as caught:
        list(read_rows(Card("far", tmp_path, model)))
    for words in ("org/no-such-data", "'far'", "hf download --repo-type dataset org/no-such-data"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
