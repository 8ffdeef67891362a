"""The prompt holds whole passages while they fit, and exact beginnings where not even one does."""

from __future__ import annotations

import pytest

from korean_llm.answering.answer import Citation
from korean_llm.answering.cite import passage_citations
from korean_llm.answering.prompt import INSTRUCTIONS, as_data, build_prompt
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Index
from tests.answering.conftest import text_of


def chars(messages: list[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


@pytest.fixture
def passages(index: Index) -> list[Citation]:
    return passage_citations(index, index.search("도서관 배추 은행", k=4))


def test_everything_fits(passages: list[Citation]) -> None:
    messages, taken = build_prompt("언제 쉬나요?", passages, chars, 10_000)
    assert taken == passages
    assert [message["role"] for message in messages] == ["system", "user"]
    for passage in passages:
        quoted = "\n".join(f"> {line}" for line in as_data(passage.text).splitlines())
        assert f"[{passage.number}] {passage.title}\n{quoted}" in messages[1]["content"]
    assert messages[1]["content"].endswith("질문: 언제 쉬나요?")


def test_the_budget_is_kept_and_ranks_come_first(passages: list[Citation]) -> None:
    full = chars(build_prompt("언제?", passages, chars, 10_000)[0])
    for budget in range(full, len(INSTRUCTIONS) + 200, -25):
        messages, taken = build_prompt("언제?", passages, chars, budget)
        assert chars(messages) <= budget
        assert taken[0].number == 1
        numbers = [passage.number for passage in taken]
        assert numbers == sorted(numbers)


def test_the_first_passage_is_cut_at_a_sentence(index: Index) -> None:
    first = passage_citations(index, index.search("버들도서관 여는 시각", k=1))[0]
    whole = chars(build_prompt("언제?", [first], chars, 10_000)[0])
    messages, taken = build_prompt("언제?", [first], chars, whole - 1)
    cut = taken[0]
    assert chars(messages) < whole and cut.number == 1
    assert cut.start == first.start and cut.end < first.end
    assert text_of(cut.document_id)[cut.start : cut.end] == cut.text and cut.text.endswith(".")


def test_no_room_at_all(passages: list[Citation]) -> None:
    with pytest.raises(KoreanLLMError, match="9,000 characters leaves no room"):
        build_prompt("가" * 9_000, passages, chars, 2_000)
