"""A follow-up question as one that can be searched by itself, by a model where there is one, else by rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

from korean_llm.answering.answer import Request, Sampling, Turn
from korean_llm.answering.rewriting.follow_up import completed, may_lean
from korean_llm.answering.writing.generate import Generator
from korean_llm.chat import Message
from korean_llm.errors import KoreanLLMError
from korean_llm.retrieval.analyzer import morpheme_terms

MAX_TURNS = 4
"""Earlier turns are forgotten: a question leans on the last few."""

MAX_CHARS = 500
_TASK = (
    "대화의 마지막 질문을, 앞의 대화를 모르는 사람도 알 수 있는 질문 하나로 고쳐 쓰세요. 대화에 없는 말은 보태지 말고,"
    " 고친 질문만 한 줄로 쓰세요. 이미 혼자서도 알 수 있는 질문이면 그대로 옮겨 쓰세요."
)
_SAMPLING = Sampling(max_new_tokens=96, stop=("\n",))


def understood(request: Request, generator: Generator | None = None) -> str:
    """The question with what it takes from earlier turns; "" where it stands by itself.

    A model's wording is taken only where its content words come from the conversation and none of the question's is
    lost; otherwise, and where the model fails, the rules'. A question that names its own subject is left alone.
    """
    question = " ".join(request.question.split())
    turns = request.history[-MAX_TURNS:]
    if not turns or not re.search(r"\w", question):
        return ""
    ruled = _ruled(question, turns)
    if generator is not None and (ruled or may_lean(question)):
        ruled = _asked(generator, question, turns) or ruled
    return "" if _same(ruled, question) else ruled[:MAX_CHARS]


def _ruled(question: str, turns: Sequence[Turn]) -> str:
    """By rules; every earlier question is completed by the one before it first."""
    before = ""
    for at, turn in enumerate(turns):
        asked = " ".join(turn.question.split())
        before = (completed(asked, before, turns[at - 1]) or asked) if before else asked
    return completed(question, before[-MAX_CHARS:], turns[-1]) if before else ""


def _asked(generator: Generator, question: str, turns: Sequence[Turn]) -> str:
    """The model's wording, or "" where it cannot be trusted or had."""
    talk = "\n".join(f"질문: {turn.question}\n답: {turn.answer[:MAX_CHARS]}" for turn in turns)
    messages: list[Message] = [
        {"role": "system", "content": _TASK},
        {"role": "user", "content": f"{talk}\n질문: {question}\n\n고쳐 쓴 질문:"},
    ]
    if generator.measure(messages) > generator.budget:
        return ""
    try:
        said = "".join(generator.generate(messages, _SAMPLING))
    except KoreanLLMError:
        return ""
    written = re.sub(r"^\W*(?:고쳐 쓴 )?질문:", "", said).strip(" \"“”'")
    return written if len(written) <= MAX_CHARS and _faithful(written, question, turns) else ""


def _faithful(written: str, question: str, turns: Sequence[Turn]) -> bool:
    """Whether the content words come from the conversation, the question's own are all there, and one was added."""
    known = [text for turn in turns for text in (turn.question, turn.answer)]
    new, own, *old = map(set, morpheme_terms([written, question, *known]))
    spoken = own.union(*old)
    together = "".join((question, *known)).replace(" ", "")
    foreign = {term for term in new - spoken if term not in together}
    pointing = {"그때", "사람"}
    return bool(new) and not foreign and own - pointing <= new


def _same(one: str, other: str) -> bool:
    return re.sub(r"\W", "", one) == re.sub(r"\W", "", other)
