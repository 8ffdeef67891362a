"""An index of office files: what is found stands exactly where the hit says, in the file's own text."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from korean_llm.cli import app
from korean_llm.documents import read_files
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.retrieval import Index
from korean_llm.retrieval.rebuild import rebuild
from tests.documents.make import pdf

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


def test_pages_of_a_pdf_come_through_growth_and_rebuilding(tmp_path: Path) -> None:
    sheets = [[("도서관은 매주 월요일에 쉽니다.", 12.0)], [], [("주차장은 건물 뒤편에 있습니다.", 12.0)]]
    (tmp_path / "guide.pdf").write_bytes(pdf(sheets))
    plain = {"id": "plain", "title": "", "text": "김장 배추는 가을에 가장 맛있습니다."}
    index = Index.build([plain, tmp_path / "guide.pdf"], tmp_path / "index")
    index.add([{"id": "late", "text": "관리비는 다달이 말일까지 냅니다.", "pages": [[7, 0, 5]]}])
    index.delete(["plain"])
    for found in (index, Index.open(tmp_path / "index")):
        hit = found.search("주차장이 있는 곳", k=1)[0]
        document = found.document(hit.document_id)
        assert document is not None
        place = document.text.index("주차장")
        assert [document.page_at(at) for at in (0, place)] == [1, 3]
    index.compact()
    again = rebuild(tmp_path / "index", Machine())
    for found in (index, again):
        documents = {document.id: document for document in found.documents}
        assert documents["late"].page_at(0) == 7
        assert {page[0] for page in documents[hit.document_id].pages} == {1, 3}


def test_an_index_from_before_pages_opens_without_them(tmp_path: Path) -> None:
    Index.build([{"id": "old", "text": "관리비는 다달이 말일까지 냅니다."}], tmp_path / "index")
    assert list((tmp_path / "index").rglob("pages.npy")) == []
    document = Index.open(tmp_path / "index").document("old")
    assert document is not None and document.pages == () and document.page_at(0) is None


def test_pages_outside_the_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match="expected ascending spans within"):
        Index.build([{"id": "x", "text": "짧다.", "pages": [[1, 0, 99]]}], tmp_path / "index")


def test_a_file_named_by_itself_has_to_be_readable(office: Path, tmp_path: Path) -> None:
    with pytest.raises(KoreanLLMError, match=r"broken\.pdf"):
        Index.build([office / "broken.pdf"], tmp_path / "index")
    assert not (tmp_path / "index").exists()
