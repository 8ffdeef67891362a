"""A reader's own documents: every kind is read, what is hostile is refused by itself, and nothing stays behind."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from korean_llm.answering import uploads as room
from korean_llm.answering.uploads import Reason, Upload, Uploads
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from tests.documents import make
from tests.reference import ole

CPU = Machine("cpu", 1)
PROSE = "느티나무 회관은 매주 수요일 저녁 일곱 시에 문을 엽니다."
FACTS = {
    "회관.txt": ("느티나무 회관은 무슨 요일에 여나요?", PROSE),
    "우체국.txt": ("물안개 우체국 전화번호는 몇 번인가요?", "물안개 우체국 전화번호는 칠칠공 다시 이공일공입니다."),
    "빵집.md": ("참깨 빵집에서 가장 잘 팔리는 빵은 무엇인가요?", "참깨 빵집에서 가장 잘 팔리는 빵은 밤식빵입니다."),
    "수영장.pdf": ("솔밭 수영장 물은 며칠마다 가나요?", "솔밭 수영장 물은 닷새마다 갑니다."),
    "과수원.docx": ("별내 과수원은 어떤 사과를 기르나요?", "별내 과수원은 홍옥이라는 사과를 기릅니다."),
    "나루터.hwp": ("샛강 나루터 배삯은 얼마인가요?", "샛강 나루터 배삯은 어른 삼천 원입니다."),
    "극장.hwpx": ("돌담 극장 좌석은 몇 개인가요?", "돌담 극장 좌석은 모두 아흔아홉 개입니다."),
    "축제.csv": ("반딧불 축제는 어느 달에 열리나요?", "반딧불 축제는 해마다 유월에 열립니다."),
}


def _packed(name: str, text: str) -> bytes:
    kind = name.rpartition(".")[2]
    if kind == "pdf":
        return make.pdf([[(text, 12)]])
    if kind == "docx":
        return make.docx({"안내": [text]})
    if kind == "hwp":
        return ole.hwp(ole.paragraph(text))
    if kind == "hwpx":
        return make.hwpx(make.p(text))
    whole = {"md": f"# 안내\n\n{text}\n", "csv": f"이름,글\n안내,{text}\n"}.get(kind, text)
    return whole.encode("cp949" if name == "우체국.txt" else "utf-8")


KINDS = {name: _packed(name, text) for name, (_, text) in FACTS.items()}


def bomb() -> bytes:
    """A docx whose one member unpacks to 300 MB."""
    file = io.BytesIO()
    package = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with package, package.open("word/document.xml", "w") as member:
        for _ in range(300):
            member.write(b" " * 1_000_000)
    return file.getvalue()


HOSTILE: dict[str, tuple[bytes, Reason]] = {
    "그림.pdf": (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "kind"),
    "문서.pdf": (make.docx({"가": ["나"]}), "name"),
    "프로그램.exe": (b"MZ" + b"\0" * 100, "kind"),
    "암호.pdf": (make.pdf([[("가", 12)]], password="비밀"), "locked"),
    "배포용.hwp": (ole.hwp(ole.paragraph("가"), flags=5), "locked"),
    "폭탄.docx": (bomb(), "large"),
    "빈.txt": (b"", "empty"),
    "공백.txt": (b" \n\n ", "empty"),
    "스캔.pdf": (make.pdf([[], []]), "empty"),
    "깨진.hwp": (ole.hwp(ole.paragraph("가" * 9_000), flags=0)[:-9_000], "damaged"),
    "깨진.docx": (make.docx({"가": ["나"]})[:-200], "damaged"),
}


def sent(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Files as a browser has sent them."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def after(uploads: Uploads, paths: list[Path]) -> dict[str, Upload]:
    *_, last = uploads.add(paths)
    return {upload.name: upload for upload in last}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_and_found(tmp_path: Path, name: str) -> None:
    uploads = Uploads(CPU)
    found = after(uploads, sent(tmp_path, {name: KINDS[name]}))
    question, text = FACTS[name]
    assert found[name].state == "done" and found[name].num_chars >= len(text)
    assert uploads.index is not None
    hit = uploads.index.search(question, k=1)[0]
    assert text in hit.text and hit.document_id.startswith(name)
    assert not (tmp_path / name).exists(), "what was sent is deleted once it is read"
    uploads.clear()


def test_what_is_hostile_is_refused_by_itself_with_its_reason(tmp_path: Path) -> None:
    uploads = Uploads(CPU)
    files = {name: data for name, (data, _) in HOSTILE.items()}
    found = after(uploads, sent(tmp_path, {**files, "안내.txt": PROSE.encode()}))
    assert {name: found[name].reason for name in HOSTILE} == {name: reason for name, (_, reason) in HOSTILE.items()}
    assert all(found[name].state == "refused" and found[name].problem for name in HOSTILE)
    assert found["안내.txt"].state == "done" and uploads.num_documents == 1
    assert list(tmp_path.iterdir()) == []
    uploads.clear()


def test_limits_of_number_size_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_FILES", 2)
    monkeypatch.setattr(room, "MAX_FILE_BYTES", 1_000)
    monkeypatch.setattr(room, "MAX_TEXT_CHARS", 500)
    uploads = Uploads(CPU)
    files = {
        "가.txt": b"a" * 300,
        "큰.txt": b"a" * 1_001,
        "긴.txt": b"a" * 250,
        "나.txt": b"b" * 100,
        "다.txt": b"c" * 10,
    }
    found = after(uploads, sent(tmp_path, files))
    states = {name: found[name].reason or found[name].state for name in files}
    assert states == {"가.txt": "done", "큰.txt": "large", "긴.txt": "large", "나.txt": "done", "다.txt": "many"}
    again = after(uploads, sent(tmp_path, {"가.txt": b"d" * 400}))
    assert again["가.txt"].state == "done", "the same file sent again takes its own place"
    uploads.clear()


def test_a_file_sent_again_replaces_what_it_said(tmp_path: Path) -> None:
    uploads = Uploads(CPU)
    rows = "제목,본문\n하나,사과는 빨갛습니다.\n둘,바나나는 노랗습니다.\n"
    after(uploads, sent(tmp_path, {"색.csv": rows.encode(), "안내.txt": PROSE.encode()}))
    after(uploads, sent(tmp_path, {"색.csv": "제목,본문\n하나,포도는 보랏빛입니다.\n".encode()}))
    assert uploads.index is not None
    text = " ".join(document.text for document in uploads.index.documents)
    assert "포도" in text and "수요일" in text and "사과" not in text and "바나나" not in text
    uploads.clear()


def test_together_with_the_run_whose_own_index_stays_as_it_is(index: Index, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in index.folder.rglob("*")}
    uploads = Uploads(CPU)
    after(uploads, sent(tmp_path, {"안내.txt": PROSE.encode()}))
    joined = uploads.joined(index)
    assert "수요일" in joined.search("회관은 무슨 요일에 여나요?", k=1)[0].text
    assert joined.search("도서관은 무슨 요일에 쉬나요?", k=1)[0].document_id == "library"
    assert len(joined.documents) == len(index.documents) + 1
    assert joined is uploads.joined(index)
    home = joined.folder.parent
    after(uploads, sent(tmp_path, {"새.txt": "솔밭 수영장은 아침 여섯 시에 엽니다.".encode()}))
    assert "여섯" in uploads.joined(index).search("수영장은 몇 시에 여나요?", k=1)[0].text
    uploads.clear()
    assert not home.exists() and uploads.uploads == []
    assert {path: path.stat().st_mtime_ns for path in index.folder.rglob("*")} == before
    assert index.search("도서관은 무슨 요일에 쉬나요?", k=1)[0].document_id == "library"


def test_progress_is_told_step_by_step(tmp_path: Path) -> None:
    uploads = Uploads(CPU)
    steps = list(uploads.add(sent(tmp_path, {"가.txt": "하나".encode(), "나.txt": b""})))
    states = [[upload.state for upload in step] for step in steps]
    assert states == [
        ["waiting", "waiting"],
        ["reading", "waiting"],
        ["done", "waiting"],
        ["done", "reading"],
        ["done", "refused"],
    ]
    uploads.clear()
