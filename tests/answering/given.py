"""Answers as a model gives them: numbered passages in the prompt, marks numbered by first appearance in the text."""

from __future__ import annotations

import re
from dataclasses import replace

from korean_llm.answering.answer import Answer, Citation, Mode, Piece, Place, Trace

PASSAGES = ("월요일에 쉽니다.", "아홉 시에 엽니다.", "다섯 권까지 빌립니다.")
QUESTION = "도서관은 언제 쉬나요?"


def prompt_of(question: str = QUESTION, passages: tuple[str, ...] = PASSAGES) -> tuple[dict[str, str], ...]:
    """The conversation that the model is given."""
    sources = "\n\n".join(f"[{number}] 안내\n{text}" for number, text in enumerate(passages, start=1))
    return (
        {"role": "system", "content": "자료만 보고 답합니다."},
        {"role": "user", "content": f"자료:\n\n{sources}\n\n질문: {question}"},
    )


def given(
    text: str = "도서관은 월요일에 쉽니다. [1]",
    question: str = QUESTION,
    passages: tuple[str, ...] = PASSAGES,
    cites: tuple[int, ...] = (1,),
    model: str = "model-1",
    mode: Mode = "generative",
    **changes: object,
) -> Answer:
    """An answer whose mark [n] cites the n-th of `cites`, each the number of a passage of the prompt."""
    citations = {
        shown: Citation(shown, f"d{number}", "안내", 0, len(passages[number - 1]), passages[number - 1])
        for shown, number in enumerate(cites, start=1)
    }
    parts = [part for part in re.split(r"(\[\d+\])", text) if part]
    pieces = tuple(Piece(part, citations.get(int(part[1:-1]) if part[0] == "[" else 0)) for part in parts)
    trace = Trace(
        prompt=prompt_of(question, passages) if mode == "generative" else (),
        hits=tuple(Place(f"d{number}", 0, len(hit), 1.5) for number, hit in enumerate(passages, start=1)),
        index="index-1",
        model=model,
        adapter="adapter-1",
        first_s=0.25,
        whole_s=1.5,
    )
    answer = Answer(question, mode, pieces, tuple(citations.values()), notice="틀릴 수 있습니다.", trace=trace)
    return replace(answer, **changes)  # type: ignore[arg-type]
