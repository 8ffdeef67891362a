"""What an agent can do: search again, open a document, calculate. Calls are one JSON object on a line.

Calls are read from the model's own words only. What comes back is data: one JSON object on one line, with every line
break of a document escaped, so that no line of a document can pass for a call or for somebody's turn to speak.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from korean_llm.answering.agent.calculate import calculate
from korean_llm.answering.answer import Citation, Step
from korean_llm.answering.cite import passage_citations, verified
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval import Hit, Index

Tool = Literal["search", "open", "calculate"]
ARGUMENTS: dict[Tool, str] = {"search": "query", "open": "document_id", "calculate": "expression"}
"""Each tool's own argument; `open` also takes `around`, the place in the document to look at."""

MAX_CALL_CHARS = 2_000
NUM_FOUND = 4
_BEFORE, _AFTER = 300, 900
"""Characters of a document shown before and after `around`."""


@dataclass(frozen=True)
class Call:
    """A tool and what it is asked; around: place in characters, for `open`."""

    tool: Tool
    asked: str
    around: int = 0


@dataclass(frozen=True)
class Result:
    """What a call came to: a line for the reader, and passages or a value for the model."""

    shown: str
    passages: tuple[Citation, ...] = ()
    value: str = ""
    error: str = ""

    def as_data(self) -> str:
        """One line of JSON for the model."""
        told: dict[str, Any] = {}
        if self.passages:
            told["passages"] = [
                {"number": p.number, "title": p.title, "document_id": p.document_id, "start": p.start, "text": p.text}
                for p in self.passages
            ]
        if self.value:
            told["value"] = self.value
        if self.error or not told:
            told["error"] = self.error or "찾지 못했습니다."
        return json.dumps(told, ensure_ascii=False)


def read_call(said: str) -> Call | str:
    """The call that a model's words begin with, or one line on what is wrong with it. Words after it do not count."""
    try:
        value, _ = json.JSONDecoder().raw_decode(said[said.index("{") :][:MAX_CALL_CHARS])
    except ValueError:
        return 'JSON이 아닙니다. {"tool": "search", "query": "…"}처럼 한 줄로 쓰세요.'
    tool = next((known for known in ARGUMENTS if known == value.get("tool")), None)
    if tool is None:
        return f"없는 도구입니다. 쓸 수 있는 도구: {', '.join(ARGUMENTS)}."
    name = ARGUMENTS[tool]
    asked, around = value.get(name), value.get("around", 0)
    if not isinstance(asked, str) or not asked.strip():
        return f"{tool}에는 {name}을(를) 글로 적어야 합니다."
    if set(value) - {"tool", name, "around"} or type(around) is not int or (around and tool != "open"):
        return f"{tool}에 쓸 수 있는 것은 {name}뿐이고, open에는 around를 숫자로 덧붙일 수 있습니다."
    return Call(tool, " ".join(asked.split()) if tool != "open" else asked, around)


class Tools:
    """The tools over one index, for one question.

    Attributes:
        passages: every passage given to the model so far by its number, verified; what it may cite.
        hits: every hit of its searches.
        calculated: whether a calculation has come to a value.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.passages: dict[int, Citation] = {}
        self.hits: list[Hit] = []
        self.calculated = False

    def use(self, call: Call) -> tuple[Step, Result]:
        """Do what a call asks. What cannot be done is said in the result; nothing is raised."""
        try:
            result = {"search": self._search, "open": self._open, "calculate": self._calculate}[call.tool](call)
        except KoreanLLMError as error:
            result = Result("할 수 없었습니다.", error=str(error))
        return Step(call.tool, call.asked, result.shown), result

    def _search(self, call: Call) -> Result:
        hits = self.index.search(call.asked, k=NUM_FOUND)
        self.hits += hits
        return self.given(passage_citations(self.index, hits))

    def given(self, citations: list[Citation]) -> Result:
        """Passages with the numbers that the model is to cite them by; one given before keeps its number."""
        numbered = tuple(self._numbered(citation) for citation in citations)
        titles = " · ".join(f"[{passage.number}] {passage.title or passage.document_id}" for passage in numbered)
        return Result(titles or "찾지 못했습니다.", passages=numbered)

    def _numbered(self, citation: Citation) -> Citation:
        place = (citation.document_id, citation.start, citation.end)
        for known in self.passages.values():
            if (known.document_id, known.start, known.end) == place:
                return known
        number = len(self.passages) + 1
        return self.passages.setdefault(number, replace(citation, number=number))

    def _open(self, call: Call) -> Result:
        document = self.index.document(call.asked)
        if document is None:
            return Result("그런 문서가 없습니다.", error=f"문서 {call.asked[:80]!r}은(는) 없습니다.")
        text = document.text
        around = min(max(call.around, 0), len(text))
        start, end = _whole_words(text, max(0, around - _BEFORE), min(len(text), around + _AFTER))
        citation = verified(self.index, 1, call.asked, start, end, text[start:end])
        return self.given([citation] if citation else [])

    def _calculate(self, call: Call) -> Result:
        value = calculate(call.asked)
        self.calculated = True
        return Result(value, value=value)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the halves of words at its ends."""
    if start > 0 and (space := text.find(" ", start, end)) > 0:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", start, end)) > start:
        end = space
    return start, end
