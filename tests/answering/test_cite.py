"""A citation resolves to its exact span, or is not there."""

from __future__ import annotations

import pytest

from korean_llm.answering.answer import Citation, Piece
from korean_llm.answering.cite import Marks, nearest_documents, passage_citations, verified, without_marks
from korean_llm.retrieval import Index
from tests.answering.conftest import DOCUMENTS, text_of

KNOWN = {number: Citation(number, f"d{number}", "제목", 0, 2, "가나") for number in (1, 2, 3)}


def known(claim: str, number: int) -> Citation | None:
    return KNOWN.get(number)


def test_only_the_exact_text_is_cited(index: Index) -> None:
    text = text_of("library")
    good = verified(index, 1, "library", 0, 5, text[:5])
    assert good == Citation(1, "library", "버들도서관 이용 안내", 0, 5, text[:5])
    for document_id, start, end, cited in (
        ("library", 0, 5, text[1:6]),
        ("library", 0, 6, text[:5]),
        ("library", -5, 0, text[-5:]),
        ("library", len(text) - 2, len(text) + 3, text[-2:]),
        ("library", 3, 3, ""),
        ("nowhere", 0, 5, text[:5]),
    ):
        assert verified(index, 1, document_id, start, end, cited) is None


def test_passages_and_nearest_documents(index: Index) -> None:
    hits = index.search("도서관 책", k=8)
    passages = passage_citations(index, hits)
    assert [passage.number for passage in passages] == list(range(1, len(hits) + 1))
    assert all(text_of(place.document_id)[place.start : place.end] == place.text for place in passages)
    nearest = nearest_documents(index, hits, 2)
    assert len({place.document_id for place in nearest}) == len(nearest) == 2
    assert {row["id"] for row in DOCUMENTS} >= {place.document_id for place in nearest}


def written(text: str, cuts: list[int]) -> tuple[list[Piece], Marks]:
    """Feed a text cut at some places."""
    marks = Marks(known)
    pieces: list[Piece] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += marks.feed(text[start:end])
    pieces += marks.finish()
    return pieces, marks


@pytest.mark.parametrize(
    ("text", "shown", "cited"),
    [
        ("둘째부터다 [2]. 첫째도 있다[1].", "둘째부터다 [1]. 첫째도 있다 [2].", ["d2", "d1"]),
        ("없는 번호다 [9].", "없는 번호다.", []),
        ("섞인다 [9, 3,3].", "섞인다 [1].", ["d3"]),
        ("번호 [ 2 ] 와 [0] 그리고 [12345]", "번호 [1] 와 그리고 [12345]", ["d2"]),
        ("배열 a[i]와 [가나]는 글이다.", "배열 a[i]와 [가나]는 글이다.", []),
        ("끝이 열린 [1", "끝이 열린 [1", []),
        ("빈칸은 버린다   ", "빈칸은 버린다", []),
        ("[1][1] 두 번", " [1] [1] 두 번", ["d1"]),
    ],
)
def test_marks_at_every_cut(text: str, shown: str, cited: list[str]) -> None:
    for cut in range(len(text) + 1):
        for pieces, marks in (written(text, [cut]), written(text, list(range(cut, len(text))))):
            assert "".join(piece.text for piece in pieces) == shown
            assert [citation.document_id for citation in marks.citations] == cited
            for piece in pieces:
                if piece.citation:
                    assert piece.text == f"[{piece.citation.number}]"
                elif "[1" not in shown.replace("[1]", ""):
                    assert "[1" not in piece.text, "half a mark was shown"


def test_footnotes_of_the_document_are_no_citations() -> None:
    assert without_marks("세 번 헹군다.[3] 그리고 [4, 5] 끝") == "세 번 헹군다. 그리고 끝"
