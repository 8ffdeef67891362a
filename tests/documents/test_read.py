"""Every format: text, structure and spans of real files."""

from __future__ import annotations

import gzip
import itertools
import json
import unicodedata
from pathlib import Path

import pytest

from korean_llm.documents import Document, Problem, read_files
from korean_llm.documents.text import decode
from korean_llm.errors import KoreanLLMError
from tests.documents import make
from tests.reference import ole

PROSE = "도서관은 아홉 시에 문을 열고 여섯 시에 닫습니다."
ROWS = [["구분", "금액"], ["인건비", "1,200만 원"]]


def one(folder: Path, name: str, data: bytes) -> Document:
    """The only document of a file, its spans checked."""
    path = folder / name
    path.write_bytes(data)
    (document,) = read_files([path])
    visible = [place for place, character in enumerate(document.text) if not character.isspace()]
    spans = [(block.start, block.end) for block in document.blocks]
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    assert sorted(set(visible) - {place for start, end in spans for place in range(start, end)}) == []
    assert document.text == unicodedata.normalize("NFC", document.text)
    return document


def blocks(document: Document) -> list[tuple[str, str]]:
    return [(block.role, document.text[block.start : block.end]) for block in document.blocks]


EXPECTED = [
    ("heading", "운영 안내"),
    ("paragraph", PROSE),
    ("row", "구분 | 금액"),
    ("row", "인건비 | 1,200만 원"),
]


def test_docx(tmp_path: Path) -> None:
    document = one(tmp_path, "a.docx", make.docx({"운영 안내": [PROSE]}, ROWS))
    assert blocks(document) == EXPECTED
    assert document.title == "운영 안내"
    assert document.text.endswith("구분 | 금액\n인건비 | 1,200만 원")


def test_docx_takes_changes_as_accepted_and_text_boxes_once(tmp_path: Path) -> None:
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:mc="http://m"'
    box = "<w:txbxContent><w:p><w:r><w:t>상자</w:t></w:r></w:p></w:txbxContent>"
    body = (
        "<w:p><w:r><w:t>앞</w:t><w:tab/></w:r><w:ins><w:r><w:t>넣은</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>지운</w:delText></w:r></w:del><w:r><w:t> 뒤</w:t>"
        f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
        "</w:r></w:p>"
    )
    notes = f"<w:footnotes {w}><w:footnote><w:p><w:r><w:t>각주다.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    main = f"<w:document {w}><w:body>{body}</w:body></w:document>"
    data = make.zipped({"word/document.xml": main, "word/footnotes.xml": notes})
    assert [text for _, text in blocks(one(tmp_path, "a.docx", data))] == ["앞\t넣은 뒤", "상자", "각주다."]


def test_hwpx(tmp_path: Path) -> None:
    section = make.p("운영 안내", style=1) + make.p(PROSE) + make.p("", make.tbl(ROWS))
    note = "<hp:ctrl><hp:footNote><hp:subList>" + make.p("각주다.") + "</hp:subList></hp:footNote></hp:ctrl>"
    head = "<hp:ctrl><hp:header><hp:subList>" + make.p("머리말") + "</hp:subList></hp:header></hp:ctrl>"
    second = make.p("둘째 구역", note + head) + "<hp:p><hp:run><hp:t>줄<hp:lineBreak/>바꿈</hp:t></hp:run></hp:p>"
    found = blocks(one(tmp_path, "a.hwpx", make.hwpx(section, second)))
    assert found == [*EXPECTED, ("paragraph", "둘째 구역"), ("paragraph", "각주다."), ("paragraph", "줄\n바꿈")]


def test_hwpx_sections_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    document = one(tmp_path, "a.hwpx", make.hwpx(*(make.p(f"{number}번") for number in range(12))))
    assert document.text.split() == [f"{number}번" for number in range(12)]


@pytest.mark.parametrize("flags", [0, 1])
def test_hwp(tmp_path: Path, flags: int) -> None:
    first = ole.paragraph("운영 안내", style=1) + ole.paragraph(PROSE)
    first += ole.paragraph("\x0b" + "\0" * 6 + "\x0b", controls=ole.table(ROWS))
    head = ole.control(b"head", 1, ole.record(72, 2, b"\0" * 8) + ole.paragraph("머리말", 2))
    note = ole.control(b"fn  ", 1, ole.record(72, 2, b"\0" * 8) + ole.paragraph("각주다.", 2))
    second = ole.paragraph("둘째\x09" + "\0" * 6 + "\x09구역", controls=head + note) + ole.paragraph("가" * 5_000)
    found = blocks(one(tmp_path, "a.hwp", ole.hwp(first, second, flags=flags)))
    assert found == [*EXPECTED, ("paragraph", "둘째\t구역"), ("paragraph", "각주다."), ("paragraph", "가" * 5_000)]


def test_hwp_headings_by_paragraph_shape(tmp_path: Path) -> None:
    document = one(tmp_path, "a.hwp", ole.hwp(ole.paragraph("첫째", shape=1) + ole.paragraph(PROSE)))
    assert [(block.role, block.level) for block in document.blocks] == [("heading", 2), ("paragraph", 0)]


def test_pdf(tmp_path: Path) -> None:
    pages = [[("운영 안내", 20.0), (PROSE, 11.0), ("월요일에는 쉽니다.", 11.0)], [], [("둘째 쪽의 글이다.", 11.0)]]
    document = one(tmp_path, "a.pdf", make.pdf(pages))
    assert blocks(document) == [
        ("heading", "운영 안내"),
        ("paragraph", f"{PROSE}\n월요일에는 쉽니다."),
        ("paragraph", "둘째 쪽의 글이다."),
    ]
    assert [(page.number, document.text[page.start : page.end]) for page in document.pages] == [
        (1, f"운영 안내\n\n{PROSE}\n월요일에는 쉽니다."),
        (3, "둘째 쪽의 글이다."),
    ]
    assert document.notes == ("1 of 3 pages hold no text, perhaps pictures: 2.",)


def test_html(tmp_path: Path) -> None:
    cells = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) + "</tr>" for row in ROWS)
    page = (
        "<!doctype html><meta charset=euc-kr><title>도서관</title><script>var x = 1;</script><h2>운영\n안내</h2>"
        f"<div>도서관은 <b>아홉</b> 시에 문을 열고 여섯 시에 닫습니다.<table>{cells}</table><p>끝<br>줄</div>"
    )
    document = one(tmp_path, "a.html", page.encode("cp949"))
    assert document.title == "도서관"
    assert blocks(document) == [*EXPECTED, ("paragraph", "끝\n줄")]


def test_markdown_stays_as_it_is(tmp_path: Path) -> None:
    text = f"# 운영 안내\n\n{PROSE}\n\n| 구분 | 금액 |\n|---|---|\n| 인건비 | 3 |\n\n```\n# 제목 아님\n```\n\n[a]: http://a\n"
    document = one(tmp_path, "a.md", text.encode())
    assert document.text == text
    assert [role for role, _ in blocks(document)][:3] == ["heading", "paragraph", "row"]
    assert ("paragraph", "```\n# 제목 아님\n```") in blocks(document)


def test_statutes_have_headings(tmp_path: Path) -> None:
    text = "민법\n\n제1편 총칙\n제1장 통칙\n제1조(법원) 민사에 관하여 법률에 규정이 없으면 관습법에 의한다.\n"
    document = one(tmp_path, "a.txt", text.encode("utf-16"))
    assert [(block.role, block.level) for block in document.blocks][1:3] == [("heading", 1), ("heading", 2)]
    assert (document.text, document.title) == (text, "민법")


def test_rows_are_documents_where_they_hold_text(tmp_path: Path) -> None:
    lines = [{"id": 7, "title": "가", "text": "하나"}, {"text": "둘\n셋"}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    (tmp_path / "b.csv").write_text('id,text\nx,"하나, 그리고\n둘"\n', encoding="utf-8-sig")
    found = list(read_files([tmp_path / "a.jsonl", tmp_path / "b.csv"]))
    assert [(document.id.rpartition("/")[2], document.text) for document in found] == [
        ("a.jsonl#7", "하나"),
        ("a.jsonl#2", "둘\n셋"),
        ("b.csv#x", "하나, 그리고\n둘"),
    ]


def test_a_table_without_text_is_one_document(tmp_path: Path) -> None:
    data = "이름;부서\n김철수;총무과\n이영희;인사과\n".encode("cp949")
    assert one(tmp_path, "a.csv", data).text == "이름: 김철수 | 부서: 총무과\n이름: 이영희 | 부서: 인사과"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_korean_text(tmp_path: Path, encoding: str) -> None:
    text = f"{PROSE} 똠방각하가 펲시를 뿌렸다. 漢字 「낫표」 10㎡\r\n"
    assert one(tmp_path, "a.txt", text.encode(encoding)).text == text.replace("\r\n", "\n")


def test_decomposed_text_and_names_are_composed(tmp_path: Path) -> None:
    document = one(tmp_path, unicodedata.normalize("NFD", "각시.txt"), unicodedata.normalize("NFD", PROSE).encode())
    assert document.text == PROSE
    assert document.id.endswith("/각시.txt")
    assert document.path.is_file()


def test_damaged_bytes_are_mended_and_told(tmp_path: Path) -> None:
    data = (PROSE * 40).encode()
    document = one(tmp_path, "a.txt", data[:-2])
    assert document.text[:-1] == (PROSE * 40)[:-1] or document.text[:-1] in PROSE * 40
    assert document.notes == ("1 places were not valid utf-8 and hold U+FFFD instead.",)


def test_problems_are_collected_and_reading_goes_on(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(PROSE, encoding="utf-8")
    problems: list[Problem] = []
    paths = [tmp_path / "none.txt", tmp_path / "b.txt", tmp_path]
    assert [document.text for document in read_files(paths, on_error=problems)] == [PROSE]
    assert [problem.path for problem in problems] == [paths[0], paths[2]]
    with pytest.raises(KoreanLLMError, match=r"none\.txt cannot be opened"):
        list(read_files(paths))


STATUTES = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus" / "legal_statutes.jsonl.gz"


@pytest.mark.real_data
@pytest.mark.skipif(not STATUTES.is_file(), reason="the real Korean data is not beside the checkout")
def test_real_korean_text_in_every_encoding(tmp_path: Path) -> None:
    with gzip.open(STATUTES, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"][:3_000] for line in file][:50]
    assert len(texts) > 20
    for text in texts:
        for encoding in ("utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"):
            told = text.encode(encoding, "ignore").decode(encoding)
            assert decode(told.encode(encoding), "a").text == told
