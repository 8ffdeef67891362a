"""A claim is cited where its passage says the same, and nowhere else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from korean_llm.answering.answer import Citation, Piece
from korean_llm.answering.cite import Marks, passage_citations
from korean_llm.answering.claims import Sources, unsupported
from korean_llm.answering.polarity import agree
from korean_llm.retrieval import Index
from tests.answering.conftest import DOCUMENTS, text_of

TEXT = (
    "해오름수영장은 화요일부터 일요일까지 오전 여섯 시에 문을 엽니다. 월요일에는 열지 않습니다."
    " 어른 요금은 5천 원이고 어린이는 2,500원입니다. 수영모를 쓰지 않으면 물에 들어갈 수 없습니다."
    " 관장은 “물이 무서운 사람도 환영합니다”라고 말했습니다. 안전 요원은 세 명이 지킵니다."
    " 튜브는 가져올 수 있지만 오리발은 가져올 수 없습니다."
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Index:
    rows = [*DOCUMENTS, {"id": "pool", "title": "해오름수영장 안내", "text": TEXT}]
    return Index.build(rows, tmp_path_factory.mktemp("pool") / "index")


@pytest.fixture(scope="module")
def sources(pool: Index) -> Sources:
    return Sources(pool, {2: Citation(2, "pool", "해오름수영장 안내", 0, len(TEXT), TEXT)})


@pytest.mark.parametrize(
    ("claim", "cited"),
    [
        ("해오름수영장은 월요일에 열지 않습니다", "월요일에는 열지 않습니다."),
        ("수영장은 오전 6시에 문을 엽니다", "해오름수영장은 화요일부터 일요일까지 오전 여섯 시에 문을 엽니다."),
        ("어른은 5,000원, 어린이는 2500원을 냅니다", "어른 요금은 5천 원이고 어린이는 2,500원입니다."),
        ("안전 요원 3명이 지킵니다", "안전 요원은 세 명이 지킵니다."),
        (
            "수영모 없이는, 곧 수영모를 쓰지 않으면 물에 들어갈 수 없습니다",
            "수영모를 쓰지 않으면 물에 들어갈 수 없습니다.",
        ),
        ("관장은 “물이 무서운 사람도 환영합니다”라고 했습니다", "물이 무서운 사람도 환영합니다"),
        ("튜브는 가져올 수 있습니다", "튜브는 가져올 수 있지만 오리발은 가져올 수 없습니다."),
        ("오리발은 가져올 수 없습니다", "튜브는 가져올 수 있지만 오리발은 가져올 수 없습니다."),
    ],
)
def test_the_narrowest_part_that_says_so(sources: Sources, claim: str, cited: str) -> None:
    citation = sources.cite(claim, 2)
    assert citation is not None and citation.text == cited
    assert TEXT[citation.start : citation.end] == cited and citation.document_id == "pool" and citation.page is None


@pytest.mark.parametrize(
    "claim",
    [
        "해오름수영장은 월요일에 문을 엽니다",
        "해오름수영장은 화요일에 문을 열지 않습니다",
        "수영장은 오후 여섯 시에 문을 엽니다",
        "수영장은 오전 일곱 시에 문을 엽니다",
        "어른 요금은 6천 원입니다",
        "어른 요금은 5천 달러에 3원입니다",
        "안전 요원은 세 시간을 지킵니다",
        "수영모를 쓰지 않아도 물에 들어갈 수 있습니다",
        "오리발은 가져올 수 있습니다",
        "관장 Kim은 물이 무서운 사람도 환영한다고 말했습니다",
        "관장은 “물이 무서운 사람은 오지 마세요”라고 말했습니다",
        "주차장은 건물 뒤편에 넓게 있습니다",
        "",
        " . ",
    ],
)
def test_what_is_not_said_is_not_cited(sources: Sources, claim: str) -> None:
    assert sources.cite(claim, 2) is None


def test_a_number_that_was_not_given_names_nothing(sources: Sources) -> None:
    assert [sources.cite("월요일에는 열지 않습니다", number) for number in (0, 1, 3, 9_999)] == [None] * 4


def test_two_adjacent_sentences_where_one_does_not_do(sources: Sources) -> None:
    citation = sources.cite("월요일에는 열지 않고, 어른 요금은 5천 원이며 어린이 요금은 2,500원입니다", 2)
    assert citation is not None
    assert citation.text == "월요일에는 열지 않습니다. 어른 요금은 5천 원이고 어린이는 2,500원입니다."


@pytest.mark.parametrize(
    ("claim", "source", "same"),
    [
        ("문을 엽니다", "문을 엽니다.", True),
        ("문을 열지 않습니다", "문을 엽니다.", False),
        ("문을 안 엽니다", "문을 열지 않습니다.", True),
        ("문을 열지 못합니다", "문을 엽니다.", False),
        ("짐을 빼면 안 됩니다", "짐을 빼도 됩니다.", False),
        ("이체할 수 없습니다", "이체할 수 있습니다.", False),
        ("이체가 불가능합니다", "이체를 할 수 없습니다.", True),
        ("학생이 아닙니다", "학생입니다.", False),
    ],
)
def test_yes_and_no(claim: str, source: str, same: bool) -> None:
    assert agree(claim, source) == same


def test_whatever_is_claimed_every_citation_is_verbatim(index: Index) -> None:
    """Sentences of the documents, with words left out, exchanged or added, under any number."""
    dice = random.Random(17)
    passages = passage_citations(index, index.search("도서관 배추 은행 강가 문서", k=8))
    sources = Sources(index, {passage.number: passage for passage in passages})
    words = [word for row in DOCUMENTS for word in row["text"].split()]
    num_cited = 0
    for _ in range(400):
        passage = dice.choice(passages)
        said = passage.text.split()[: dice.randint(1, 12)]
        if dice.random() < 0.5:
            said[dice.randrange(len(said))] = dice.choice(words)
        found = sources.cite(" ".join(said), dice.randint(0, len(passages) + 2))
        if found is not None:
            num_cited += 1
            assert text_of(found.document_id)[found.start : found.end] == found.text
            passage = passages[found.number - 1]
            assert found.document_id == passage.document_id and passage.start <= found.start < found.end <= passage.end
    assert num_cited > 20


def test_a_stream_cut_anywhere_is_cited_alike(sources: Sources) -> None:
    text = "월요일에는 열지 않습니다.[2] 어른 요금은 5천 원[2]이고 어린이는 9천 원입니다 [2][7]."
    wanted = "월요일에는 열지 않습니다. [1] 어른 요금은 5천 원 [2]이고 어린이는 9천 원입니다."
    for cut in range(len(text) + 1):
        marks = Marks(sources.cite)
        pieces = [*marks.feed(text[:cut]), *marks.feed(text[cut:]), *marks.finish()]
        assert "".join(piece.text for piece in pieces) == wanted
        assert [citation.text for citation in marks.citations] == [
            "월요일에는 열지 않습니다.",
            "어른 요금은 5천 원이고 어린이는 2,500원입니다.",
        ]


def test_sentences_without_a_citation() -> None:
    mark = Piece("[1]", Citation(1, "d", "", 0, 1, "가"))
    pieces = [Piece("하나다."), Piece(" "), mark, Piece(" 둘이다. 셋이다"), Piece(" "), mark, Piece(".\n- 넷이다 3.5%")]
    assert unsupported(pieces) == ("둘이다.", "- 넷이다 3.5%")
    assert unsupported([]) == unsupported([Piece(" … ")]) == ()


def test_the_page_of_a_citation(tmp_path: Path) -> None:
    rows = [{"id": "b", "text": TEXT, "pages": [[3, 0, 50], [5, 52, len(TEXT)]]}]
    built = Index.build(rows, tmp_path / "index")
    found = Sources(built, {1: Citation(1, "b", "", 0, len(TEXT), TEXT)})
    first, last = found.cite("화요일부터 일요일까지 문을 엽니다", 1), found.cite("안전 요원은 세 명이 지킵니다", 1)
    assert first is not None and last is not None and (first.page, last.page) == (3, 5)
