"""What the page shows of documents, questions and models is text, whatever stands in them."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from demo.render import CONTEXT_CHARS, answer_html, escaped, problem_html, question_html, source_html, streaming_html
from korean_llm.answering.answer import Answer, Citation, Piece
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
    citation = a_citation(text)
    pieces = (Piece(text), Piece(" "), Piece("[1]", citation))
    answer = Answer(text, "generative", pieces, (citation,), nearest=(citation,), notice=text)
    allowed = {"div", "button", "i", "b", "br", "span"}
    for page in (question_html(text), answer_html(0, answer), streaming_html(3, pieces), problem_html(text, text)):
        reader = Reader(page)
        assert set(reader.tags) <= allowed
        assert reader.names <= {"class", "type", "value", "title", "role"}
        assert text in reader.text
        assert "\n" not in page, "a blank line would end the HTML block and begin Markdown"
        bare = re.sub(r"<[^>]*>", "", page)
        assert not set(bare) & set("<>[]()*_`$\\{}|\"'"), "a character that means something to Markdown"
        assert "://" not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_the_marked_text_is_exactly_the_span(text: str) -> None:
    before, after = f"앞 {text}\n", f"\n뒤 {text}"
    document = Document("d", text, before + text + after)
    page = source_html(a_citation(text, len(before)), document)
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
    page = source_html(a_citation("찾던 문장이다.", start), Document("d", "긴 글", text))
    body = Reader(page).text
    assert 1.8 * CONTEXT_CHARS < len(body) < 2.1 * CONTEXT_CHARS
    assert "… 스무 글자쯤" in body and "한 줄의 글이다. …" in body


def test_each_document_is_named_once_with_all_its_numbers() -> None:
    citations = tuple(Citation(n, "d", "같은 글", n, n + 1, "가") for n in (1, 2, 3))
    pieces = tuple(Piece(f"[{citation.number}]", citation) for citation in citations)
    page = answer_html(7, Answer("q", "extractive", pieces, citations))
    assert page.count(">같은 글<") == 1
    assert re.findall(r'class="cite mark" value="7:c:(\d)"', page) == ["1", "2", "3", "1", "2", "3"]


def test_korean_is_left_readable() -> None:
    assert escaped("값은 3,000원입니다. “네”") == "값은 3,000원입니다. “네”"
