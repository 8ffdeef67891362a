"""Passages: exact spans, nothing lost or twice, whole sentences and rows, parents around them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from korean_llm import kiwi
from korean_llm.documents import Block, Document, split
from korean_llm.documents.plain import markdown_body, text_body
from korean_llm.documents.sentences import sentence_spans

PROSE = (
    "첫 문단의 첫 문장이다. 둘째 문장은 조금 더 길게 이어진다. 셋째 문장이다.\n\n"
    "둘째 문단은 여기서 시작한다.   사이에 빈칸이 여럿 있다.\n이어지는 줄도 같은 문단이다.\n\n\n"
    '그는 "비가 온다." 하고 말했다. 마지막 문단 😀 이모지와 漢字도 있다.'
)
MARKDOWN = f"# 안내\n\n## 시간\n\n{PROSE}\n\n## 요금\n\n| 구분 | 금액 |\n|---|---|\n| 어른 | 3,000원 |\n\n## 빈 절\n"


def document(text: str, markdown: bool = False) -> Document:
    body = (markdown_body if markdown else text_body)(text)
    return Document("a", "", text, Path("a"), "md", body.blocks)


@pytest.mark.parametrize("limit", [50, 60, 120, 10_000])
@pytest.mark.parametrize("markdown", [False, True])
def test_every_visible_character_but_headings_stands_in_one_passage(limit: int, markdown: bool) -> None:
    made = document(MARKDOWN if markdown else PROSE, markdown)
    covered = [0] * len(made.text)
    for passage in split(made, limit):
        assert 0 < passage.end - passage.start <= limit
        assert passage.section.start <= passage.start < passage.end <= passage.section.end
        for place in range(passage.start, passage.end):
            covered[place] += 1
    for block in made.blocks:
        inside = [
            n
            for n, c in zip(covered[block.start : block.end], made.text[block.start : block.end], strict=True)
            if not c.isspace()
        ]
        last = block is made.blocks[-1]
        assert set(inside) == ({0} if block.role == "heading" and not last else {1})


def test_headings_become_titles_and_one_without_text_stays() -> None:
    made = document(MARKDOWN, markdown=True)
    found = split(made, 10_000)
    assert [passage.section.title for passage in found] == ["안내 > 시간", "안내 > 요금", "안내 > 빈 절"]
    assert [made.text[passage.section.start] for passage in found] == ["#", "#", "#"]
    assert made.text[found[2].start : found[2].end] == "## 빈 절"


@pytest.mark.parametrize("limit", [40, 60, 90])
def test_sentences_are_whole(limit: int) -> None:
    borders = {start for start, _ in sentence_spans(PROSE, 0, len(PROSE))}
    assert {passage.start for passage in split(document(PROSE), limit)} <= borders
    assert PROSE.index("하고 말했다") not in borders


def test_rows_are_whole_and_a_long_one_is_cut_at_spaces() -> None:
    rows = [f"항목 {number} | {number * 1_000:,}원 | 비고 없음. 다음." for number in range(40)]
    text = "\n".join([*rows, "값 " * 100])
    starts = [sum(len(row) + 1 for row in rows[:n]) for n in range(41)]
    blocks = [
        Block(start, start + len(row), "row") for start, row in zip(starts, [*rows, "값 " * 99 + "값"], strict=True)
    ]
    found = split(Document("a", "", text, Path("a"), "csv", tuple(blocks)), 80)
    assert {passage.start for passage in found if passage.start < starts[40]} <= set(starts)
    assert all(text[passage.start] == "값" for passage in found if passage.start >= starts[40])
    assert max(passage.end - passage.start for passage in found) <= 80


def test_parents_are_larger_but_bounded_and_follow_each_other() -> None:
    made = document(f"제1장 총칙\n{PROSE} " * 30)
    sections = list(dict.fromkeys(passage.section for passage in split(made, 100)))
    assert max(section.end - section.start for section in sections) <= 400
    assert all(first.end <= second.start for first, second in itertools.pairwise(sections))


@pytest.mark.parametrize("text", ["", "   \n\n  ", "\n"])
def test_nothing_gives_nothing(text: str) -> None:
    assert split(document(text), 100) == []


def test_sentences_agree_with_kiwi_and_lose_nothing_around_long_runs() -> None:
    text = PROSE.replace("\n\n", " ")
    assert [start for start, _ in sentence_spans(text, 0, len(text))] == [start for start, _ in kiwi.sentences(text)]
    hard = f"{text} {'-' * 60} {text} {'7' * 50} {text}{'ㅋ' * 30}"
    spans = sentence_spans(hard, 0, len(hard))
    assert "".join("".join(hard[start:end] for start, end in spans).split()) == "".join(hard.split())
    assert len(spans) >= 3 * len(sentence_spans(text, 0, len(text)))


def test_random_text_is_covered_once() -> None:
    generator = random.Random(3)
    parts = [
        "가다.",
        " ",
        "\n",
        "\n\n",
        "# 장\n",
        "- 항목",
        "| a | b |\n",
        "```\n",
        "\u0301",
        "👩\u200d💻",
        "제1장 \n",
        "긴" * 70,
        ".",
        "=",
    ]
    for _ in range(150):
        text = "".join(generator.choices(parts, k=generator.randrange(40)))
        for markdown in (False, True):
            made = document(text, markdown)
            covered = [0] * len(text)
            for block in made.blocks:
                for place in range(block.start, block.end):
                    covered[place] += 1
            assert all(n == 1 for n, c in zip(covered, text, strict=True) if not c.isspace()), text
            last = 0
            for passage in split(made, 30):
                assert last <= passage.start < passage.end <= passage.start + 30
                last = passage.end
