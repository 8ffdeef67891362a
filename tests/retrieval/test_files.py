"""An index of office files: what is found stands exactly where the hit says, in the file's own text."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from korean_llm.cli import app
from korean_llm.documents import read_files
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Index

NOTICE = "# 휴관 안내\n\n도서관은 매주 월요일에 쉽니다.\n\n# 주차\n\n주차장은 건물 뒤편에 있습니다.\n"
PAGE = (
    "<html><head><title>장터</title></head><body><h1>장터</h1><p>김장 배추는 가을에 가장 맛있습니다.</p></body></html>"
)


@pytest.fixture
def office(tmp_path: Path) -> Path:
    folder = tmp_path / "office"
    (folder / "안").mkdir(parents=True)
    (folder / "notice.md").write_text(NOTICE, encoding="utf-8")
    (folder / "안" / "page.html").write_text(PAGE, encoding="utf-8")
    (folder / "old.txt").write_bytes("관리비는 다달이 말일까지 냅니다.".encode("cp949"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nno page at all")
    return folder


def test_a_folder_is_indexed_and_hits_stand_where_they_say(
    office: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    index = Index.build([office], tmp_path / "index")
    assert "left out:" in capsys.readouterr().err
    for question, name, words in (
        ("도서관이 쉬는 날", "notice.md", "월요일에 쉽니다"),
        ("배추가 맛있는 때", "안/page.html", "가을에 가장 맛있습니다"),
        ("관리비 내는 날", "old.txt", "말일까지 냅니다"),
    ):
        hit = index.search(question, k=1)[0]
        (document,) = read_files([office / name])
        assert hit.document_id == document.id and words in hit.text
        assert document.text[hit.start : hit.end] == hit.text
    assert "주차장" not in index.search("도서관이 쉬는 날", k=1)[0].text, "sections are kept apart"


def test_a_file_that_changes_takes_its_own_place(office: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "index")
    assert CliRunner().invoke(app, ["index", folder, str(office / "notice.md")]).exit_code == 0
    (office / "notice.md").write_text(NOTICE.replace("월요일", "수요일"), encoding="utf-8")
    assert CliRunner().invoke(app, ["index", folder, str(office / "notice.md")]).exit_code == 0
    index = Index.open(folder)
    assert index.state.num_documents == 1
    assert "수요일" in index.search("도서관이 쉬는 날", k=1)[0].text


def test_a_file_named_by_itself_has_to_be_readable(office: Path, tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match=r"broken\.pdf"):
        Index.build([office / "broken.pdf"], tmp_path / "index")
    assert not (tmp_path / "index").exists()
