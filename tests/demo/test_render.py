"""What the page shows of documents, questions and models is text, whatever stands in them."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from demo.documents import listed_html
from demo.escape import escaped
from demo.render import answer_html, exchange_html, problem_html, question_html, streaming_html
from demo.source import CONTEXT_CHARS, lost_html, source_html
from demo.tokens import cuts_html
from demo.words import Words
from korean_llm.answering.answer import Answer, Citation, Piece, Step, Trace
from korean_llm.answering.session import Exchange
from korean_llm.answering.tokens import Chip, Cut
from korean_llm.answering.uploads import Upload
from korean_llm.retrieval.index import Document

HOSTILE = [
    "<img src=http://evil.example/x onerror=alert(1)>",
    "</div></article><script>alert(1)</script>",
    "![그림](http://evil.example/y.png) [눌러](javascript:alert(1)) <http://evil.example>",
    "\n\n# 제목\n\n- 목록\n> 인용\n\n`코드` **굵게** __밑줄__ ~~지움~~ | 표 |\n|---|",
    "&lt;b&gt; &#60;b&#62; &amp;amp; \" ' \\ $$x$$ \\(y\\) {{z}} ${w}",
    '" onmouseover="alert(1)',
    "www.evil.example http://evil.example/auto",
]


KO = Words("ko")
ALLOWED = set("div p ul li b br span i section h2 article header button mark".split())  # noqa: SIM905


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attributes}
        if tag == "br":
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += data


def a_citation(text: str, start: int = 0) -> Citation:
    return Citation(1, text, text, start, start + len(text), text)


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_are_one_block_of_plain_text(text: str) -> None:
    citation, step = a_citation(text), Step("search", text, text)
    pieces = (Piece(text), Piece(" "), Piece("[1]", citation))
    answer = Answer(
        text,
        "generative",
        pieces,
        (citation,),
        nearest=(citation,),
        notice=text,
        understood=text,
        steps=(step,),
        kept_from=text,
        trace=Trace(first_s=0.25, whole_s=1.5),
    )
    allowed = {"div", "button", "i", "b", "br", "span", "svg", "path", "details", "summary", "ol", "li"}
    for page in (
        question_html(text),
        answer_html(0, answer, KO),
        exchange_html(0, Exchange(text, answer, "id", "up", edited=text), KO),
        exchange_html("l", Exchange(text, problem=text), KO),
        streaming_html(3, (*pieces, Piece("", step=step)), KO),
        problem_html(text, text),
    ):
        reader = Reader(page)
        assert set(reader.tags) <= allowed
        assert reader.names <= {"class", "type", "value", "title", "role", "viewbox", "d", "open"}
        assert text in reader.text
        assert "\n" not in page, "a blank line would end the HTML block and begin Markdown"
        bare = re.sub(r"<[^>]*>", "", page)
        assert not set(bare) & set("<>[]()*_`$\\{}|\"'"), "a character that means something to Markdown"
        assert "://" not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_the_marked_text_is_exactly_the_span(text: str) -> None:
    before, after = f"앞 {text}\n", f"\n뒤 {text}"
    document = Document("d", text, before + text + after)
    page = source_html(a_citation(text, len(before)), document, KO)
    marked = re.search(r"<mark>(.*?)</mark>", page, re.DOTALL)
    assert marked and html.unescape(marked[1]) == text
    reader = Reader(page)
    assert document.text in reader.text
    assert set(reader.tags) <= {"article", "header", "div", "button", "h2", "i", "mark"}
    assert f"{len(before) + 1:,}–{len(before) + len(text):,}번째 글자" in reader.text


def test_a_long_document_is_shown_around_the_span() -> None:
    line = "스무 글자쯤 되는 한 줄의 글이다.\n"
    text = line * 2_000 + "찾던 문장이다.\n" + line * 2_000
    start = text.index("찾던")
    page = source_html(a_citation("찾던 문장이다.", start), Document("d", "긴 글", text), KO)
    body = Reader(page).text
    assert 1.8 * CONTEXT_CHARS < len(body) < 2.1 * CONTEXT_CHARS
    assert "… 스무 글자쯤" in body and "한 줄의 글이다. …" in body


def test_each_document_is_named_once_with_all_its_numbers() -> None:
    citations = tuple(Citation(n, "d", "같은 글", n, n + 1, "가") for n in (1, 2, 3))
    pieces = tuple(Piece(f"[{citation.number}]", citation) for citation in citations)
    page = answer_html(7, Answer("q", "extractive", pieces, citations), KO)
    assert page.count(">같은 글<") == 1
    assert re.findall(r'class="cite mark" value="7:c:(\d)"', page) == ["1", "2", "3", "1", "2", "3"]


def test_screens_of_nothing_are_not_drawn() -> None:
    pieces = (Piece("가\n\n나"), *[Piece("\n")] * 40, Piece("다"))
    assert "가<br><br>나<br><br>다" in streaming_html(0, pieces, KO)


def test_korean_is_left_readable() -> None:
    assert escaped("값은 3,000원입니다. “네”") == "값은 3,000원입니다. “네”"


@pytest.mark.parametrize("text", HOSTILE)
def test_file_names_and_tokens_are_text(text: str) -> None:
    chips = (Chip(text), Chip("가", (b"\xea", b"\xb0\x80")))
    pages = [
        listed_html([Upload(text, "done", 3), Upload(text, "refused", reason="kind", problem=text)], KO),
        cuts_html([Cut(chips, 3, 1, 3)], KO),
        lost_html(a_citation(text), KO),
    ]
    for page in pages:
        reader = Reader(page)
        assert set(reader.tags) <= ALLOWED
        assert reader.names <= {"class", "role", "type", "aria-label", "tabindex"}
    shown = Reader(cuts_html([Cut(chips, 3, 1, 3)], KO)).text
    assert text.replace(" ", "␣").replace("\n", "↵") in shown.replace("↵\n", "↵")
    assert "EAB0 80" in shown and "\ufffd" not in shown


def test_a_kept_answer_says_so_and_can_be_asked_afresh() -> None:
    answer = Answer("q", "extractive", (Piece("가"),), (), kept_from="다른 물음")
    page = exchange_html(2, Exchange("q", answer, "id"), KO)
    assert "보관된 답변입니다. 처음 물음: 다른 물음" in page and 'value="2:fresh"' in page
    assert 'value="2:fresh"' not in exchange_html(2, Exchange("q", Answer("q", "extractive", (Piece("가"),), ())), KO)


def test_how_it_was_understood_and_found_and_how_long_it_took() -> None:
    steps = (Step("rewrite", "그럼 일요일은?", "도서관은 일요일에 여나요?"), Step("search", "일요일", "3건"))
    trace = Trace(first_s=0.25, whole_s=1.5)
    answer = Answer("q", "generative", (Piece("가"),), (), understood="일요일에 여나요", steps=steps, trace=trace)
    text = Reader(answer_html(0, answer, KO)).text
    assert "이렇게 이해했습니다: 일요일에 여나요" in text
    assert "답을 찾은 과정 2단계" in text and "질문 다듬기" in text and "3건" in text
    assert "첫 글자까지 0.2초 · 모두 1.5초" in text


def test_a_vote_is_seen_and_an_answer_side_by_side_has_none() -> None:
    answer = Answer("q", "extractive", (Piece("가"),), ())
    page = exchange_html(0, Exchange("q", answer, "id", vote="down"), KO)
    assert re.findall(r'class="act icon( pressed)?" value="0:(up|down)"', page) == [("", "up"), (" pressed", "down")]
    assert "act" not in exchange_html("l", Exchange("q", answer, "id"), KO)
