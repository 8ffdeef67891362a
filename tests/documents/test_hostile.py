"""Hostile files: one clear sentence or the right text, in bounded memory, and nothing lost."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from korean_llm.documents import check_name, find_files, read_files, sniff, split
from korean_llm.documents.package import MAX_UNPACKED_BYTES
from korean_llm.errors import KoreanLLMError
from tests.documents import make
from tests.reference import ole

PROSE = "도서관은 아홉 시에 문을 열고 여섯 시에 닫습니다."
OOXML = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "하하하"><!ENTITY b "&a;&a;&a;&a;">]>'
    f'<w:document xmlns:w="{OOXML}"><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:document>'
)
SCAN = make.pdf([[], []])


def packed_bomb(name: str, declared: int | None = None) -> bytes:
    """A zip whose member unpacks to 300 MB; `declared` is the size that it lies it had."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        with package.open(name, "w") as member:
            member.write(b"<d>")
            for _ in range(300):
                member.write(b" " * 1_000_000)
        size = package.getinfo(name).file_size
    data = file.getvalue()
    return data if declared is None else data.replace(size.to_bytes(4, "little"), declared.to_bytes(4, "little"))


def message(path: Path) -> str:
    with pytest.raises(KoreanLLMError) as caught:
        list(read_files([path]))
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


REFUSED = {
    "empty.txt": (b"", "holds no text"),
    "blank.md": (b" \n\n\t", "holds no text"),
    "empty.pdf": (b"", "holds no text"),
    "empty.jsonl": (b"", "holds no text"),
    "locked.pdf": (make.pdf([[(PROSE, 11.0)]], password="비밀번호1".encode().hex()), "protected by a password"),
    "scan.pdf": (SCAN, "holds no text on its 2 pages"),
    "cut.pdf": (b"%PDF-1.7\n1 0 obj", "is a damaged PDF"),
    "picture.pdf": (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "is a PNG picture"),
    "program.txt": (b"MZ\x90\0\3\0\0\0" + bytes(range(256)) * 9, "is a Windows program"),
    "noise.txt": (bytes(range(256)) * 40, "is no text"),
    "japanese.txt": ("日本語の文章です。これはテスト。カタカナ".encode("euc-jp") * 20 + b"\xff\xff", "neither UTF-8"),
    "book.docx": (make.zipped({"xl/workbook.xml": "<w/>"}), "is an Excel workbook"),
    "cut.docx": (make.docx({"가": [PROSE]})[:-400], "is a damaged zip package"),
    "laughs.docx": (make.zipped({"word/document.xml": LAUGHS}), "declares XML entities"),
    "laughs.hwpx": (make.zipped({"Contents/section0.xml": LAUGHS}), "declares XML entities"),
    "open.hwpx": (make.zipped({"Contents/section0.xml": "<sec><p>"}), "is damaged"),
    "deep.hwpx": (make.zipped({"Contents/section0.xml": "<p>" * 5_000}), "nested over 1,000 deep"),
    "locked.hwpx": (make.hwpx(make.p("가"), manifest="<m><encryption-data/></m>"), "protected by a password"),
    "locked.hwp": (ole.hwp(ole.paragraph("가"), flags=3), "protected by a password"),
    "copy.hwp": (ole.hwp(ole.paragraph("가"), flags=5), "locked distribution copy"),
    "cut.hwp": (ole.hwp(ole.paragraph("가" * 9_000), flags=0)[:-9_000], "is damaged"),
    "old.hwp": (b"HWP Document File V3.00 \x1a\1\2\3\4\5" + b"\0" * 99, "old HWP 3 document"),
    "old.doc": (ole.ole({"WordDocument": b"\0" * 99}), "old Word document (.doc)"),
    "locked.docx": (ole.ole({"EncryptedPackage": b"\0" * 99}), "protected by a password"),
    "bad.jsonl": (b'{"text": "a"}\n{"text": \n', "bad.jsonl line 2: not valid JSON"),
    "list.jsonl": (b"[1]\n", "line 1: expected a JSON object, found list"),
    "deep.jsonl": (b'{"text": ' + b"[" * 200_000, "line 1: not valid JSON"),
    "field.jsonl": (b'{"body": "a"}\n', "expected text in the field 'text', found body"),
    "quote.csv": (b'a,b\n1,"2\n3,4\n', "is no row of a CSV table"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_told_in_one_sentence(tmp_path: Path, name: str) -> None:
    data, words = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    assert words in message(tmp_path / name)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.pdf").mkdir()
    assert "cannot be opened" in message(tmp_path / "loop.txt")
    assert "is a device or a pipe" in message(tmp_path / "pipe.txt")
    assert "is a folder" in message(tmp_path / "folder.pdf")


def test_nul_bytes_part_words_and_take_nothing_along(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(f"앞\0뒤 {PROSE}\x0c끝".encode())
    (document,) = read_files([tmp_path / "a.txt"])
    assert document.text == f"앞 뒤 {PROSE} 끝"


def test_half_characters_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "\\ud83d", "text": "a\\udc00b"}\n')
    (document,) = read_files([tmp_path / "a.jsonl"])
    assert document.text == "a b"
    document.id.encode()


def test_content_decides_and_an_upload_must_agree(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(make.docx({"가": [PROSE]}))
    (document,) = read_files([tmp_path / "a.pdf"])
    assert (document.kind, document.notes) == ("docx", ("a.pdf is docx by its content and was read as such.",))
    assert sniff(tmp_path / "a.pdf") == "docx"
    with pytest.raises(KoreanLLMError, match=r"a\.pdf is docx by its content, not pdf"):
        check_name(tmp_path / "a.pdf")
    assert check_name(tmp_path / "a.pdf", "보고서.docx") == "docx"
    with pytest.raises(KoreanLLMError, match=r"setup\.exe has the ending '\.exe'"):
        check_name(tmp_path / "a.pdf", "setup.exe")


def test_a_file_replaced_while_it_is_read_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(json.dumps({"text": f"{n}"}).encode() + b"\n" for n in range(3)))
    reading = read_files([path])
    assert next(reading).text == "0"
    (tmp_path / "new").write_bytes(SCAN)
    (tmp_path / "new").replace(path)
    assert [document.text for document in reading] == ["1", "2"]


def test_every_changed_byte_of_a_document_ends_well(tmp_path: Path) -> None:
    """Whatever byte is hurt: there is text, or one sentence; never another error."""
    whole = {"a.hwp": ole.hwp(ole.paragraph(PROSE) + ole.paragraph("", controls=ole.table([["가", "나"]])), flags=0)}
    whole |= {
        "a.hwpx": make.hwpx(make.p(PROSE)),
        "a.docx": make.docx({"가": [PROSE]}),
        "a.pdf": make.pdf([[(PROSE, 11)]]),
    }
    for name, data in whole.items():
        for place in range(0, len(data), max(1, len(data) // 40)):
            hurt = bytearray(data)
            hurt[place] ^= 0x55
            (tmp_path / name).write_bytes(hurt)
            list(read_files([tmp_path / name], on_error=[]))


def test_a_folder_is_walked_once_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    for name in ("b/가.PDF", "a.txt", "c.exe", ".hidden.txt", ".git/x.txt", "b/~$가.docx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("글", encoding="utf-8")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b" / "self")
    (tmp_path / "b" / "linked.txt").symlink_to(tmp_path / "a.txt")
    found = find_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.files] == ["a.txt", "b/linked.txt", "b/가.PDF"]
    assert (found.num_hidden, found.num_others, found.num_links) == (3, 1, 2)
    assert [path.name for path in find_files(tmp_path, ["*.pdf"]).files] == ["가.PDF"]


_MEASURE = r"""
import re, sys
from pathlib import Path
from korean_llm.documents import read_files
def peak():  # ru_maxrss would begin with the peak of the parent
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


before = peak()
problems = []
chars = sum(len(document.text) for document in read_files([Path(sys.argv[1])], on_error=problems))
print(chars, (peak() - before) // 1024, *[p.message for p in problems])
"""


def measured(path: Path) -> tuple[int, int, str]:
    """(characters read, growth of the peak memory in MiB, the problem) of reading a file in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _MEASURE, path], capture_output=True, text=True, check=True)
    chars, mib, problem = f"{done.stdout.strip()} ".split(" ", 2)
    return int(chars), int(mib), problem


@pytest.mark.parametrize(
    ("name", "member", "declared"),
    [("a.docx", "word/document.xml", None), ("a.hwpx", "Contents/section0.xml", 5_000)],
)
def test_a_zip_bomb_is_refused_in_little_memory(tmp_path: Path, name: str, member: str, declared: int | None) -> None:
    (tmp_path / name).write_bytes(packed_bomb(member, declared))
    assert (tmp_path / name).stat().st_size < 5_000_000
    chars, mib, problem = measured(tmp_path / name)
    assert chars == 0
    assert name in problem
    assert f"at most {MAX_UNPACKED_BYTES:,} bytes" in problem or "is damaged" in problem
    assert mib < 64


def test_a_packed_hwp_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "a.hwp").write_bytes(ole.hwp(ole.record(99, 0, b"\0" * 1_000_000) * 300))
    chars, mib, problem = measured(tmp_path / "a.hwp")
    assert (chars, "unpacks to over" in problem) == (0, True)
    assert mib < 64


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.csv"])
def test_ten_megabytes_on_one_line(tmp_path: Path, name: str) -> None:
    data = f"{PROSE} ".encode() * (10_000_000 // len(f"{PROSE} ".encode()))
    (tmp_path / name).write_bytes(data)
    chars, mib, problem = measured(tmp_path / name)
    assert problem == ""
    assert abs(chars - len(data.decode())) <= 1
    assert mib < 200


def test_a_line_of_a_million_characters_is_cut_into_passages(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("가나다라마" * 200_000, encoding="utf-8")
    (document,) = read_files([tmp_path / "a.txt"])
    spans = [(passage.start, passage.end) for passage in split(document, 10_000)]
    assert spans == [(at, at + 10_000) for at in range(0, 1_000_000, 10_000)] or max(e - s for s, e in spans) <= 10_000
    assert sum(end - start for start, end in spans) == 1_000_000
