"""A model that may search again, open a document and calculate before it answers, in a few visible steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from threading import Event

from korean_llm.answering.agent.conversation import Conversation
from korean_llm.answering.agent.tools import MAX_CALL_CHARS, Call, Result, Tools, read_call
from korean_llm.answering.answer import Piece, Request, Step
from korean_llm.answering.cite import Marks
from korean_llm.answering.claims import Sources
from korean_llm.answering.course import Course
from korean_llm.answering.generative import EMPTY, GenerativeAnswerer
from korean_llm.answering.writing.generate import Generator
from korean_llm.answering.writing.stream import StopStrings
from korean_llm.retrieval import Index

MAX_STEPS = 6
MAX_S = 120.0
MAX_REPEATS = 2

_REPEATED = "같은 부름을 되풀이했습니다. 다른 것을 찾거나 답하세요."
_CALL_LINE = '\n{"tool"'


@dataclass
class _Work:
    """What has been done for one question so far."""

    tools: Tools
    talk: Conversation
    steps: list[Step] = field(default_factory=list)
    done: set[Call] = field(default_factory=set)
    rounds: int = 0
    repeats: int = 0
    start: float = field(default_factory=time.monotonic)

    def tell(self, step: Step) -> Piece:
        """The step as it is shown."""
        self.steps.append(step)
        return Piece("", step=step)


class AgentAnswerer(GenerativeAnswerer):
    """Answers like the generative mode, from what a model finds in up to six steps of its own.

    The first step is always a search for the question. Calls of tools are read from the model's replies alone.
    """

    def __init__(
        self, index: Index, generator: Generator, notice: str, *, max_steps: int = MAX_STEPS, max_s: float = MAX_S
    ) -> None:
        """max_steps, max_s: calls and seconds after which the model has to answer."""
        super().__init__(index, generator, notice)
        self.max_steps, self.max_s = max_steps, max_s

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """Steps as they are done, then pieces as the model writes them; the last carries the whole answer."""
        stop = stop or Event()
        course = Course(asked, self.index, self.mode, self.notice, self.generator)
        meant = course.understood or course.question
        work = _Work(Tools(self.index), Conversation(meant))
        if course.understood:
            yield work.tell(Step("rewrite", course.question, meant))
        yield self._do(work, Call("search", meant))
        said: Iterator[str] | None = None
        while said is None and not stop.is_set():
            call, said = self._reply(work, course, stop)
            if call is not None:
                yield from self._called(work, call)
        marks = Marks(Sources(self.index, work.tools.passages).cite)
        yield from course.say(self._shown(said or iter(()), marks, stop))
        if not course.pieces and not stop.is_set():
            yield from course.say([Piece(EMPTY)])
        judged = {} if work.tools.calculated else self._judged(course)
        yield course.end(stopped=stop.is_set(), steps=tuple(work.steps), **judged)

    def _reply(self, work: _Work, course: Course, stop: Event) -> tuple[str | None, Iterator[str] | None]:
        """What the model says next: the words of a call, or an answer as it is streamed."""
        last = self._enough(work)
        messages = work.talk.messages(self.generator.measure, self.generator.budget, last=last)
        course.prompt = tuple(messages)
        texts = self.generator.generate(messages, course.request.sampling, stop)
        head = ""
        for text in texts:
            head += text
            if head.strip():
                break
        if not head.lstrip().startswith(("{", "`")):
            return None, chain([head], texts)
        if last:
            return None, iter(())
        return _first_object(head, texts), None

    def _enough(self, work: _Work) -> bool:
        late = time.monotonic() - work.start > self.max_s
        return late or work.rounds >= self.max_steps or work.repeats >= MAX_REPEATS

    def _called(self, work: _Work, said: str) -> Iterator[Piece]:
        """Do what the model's words ask, or say in one line what is wrong with them; either is a step."""
        call = read_call(said)
        if isinstance(call, str):
            work.rounds += 1
            work.talk.calls.append((said[:MAX_CALL_CHARS], Result("", error=call)))
        elif call in work.done:
            work.rounds, work.repeats = work.rounds + 1, work.repeats + 1
            work.talk.calls.append((said, Result("", error=_REPEATED)))
            yield work.tell(Step(call.tool, call.asked, "이미 한 일이라 다시 하지 않았습니다."))
        else:
            yield self._do(work, call, said)

    def _do(self, work: _Work, call: Call, said: str = "") -> Piece:
        """Use a tool; its result is told to the model as data."""
        step, result = work.tools.use(call)
        work.done.add(call)
        work.rounds += 1
        if said:
            work.talk.calls.append((said, result))
        else:
            work.talk.found = result
        return work.tell(step)

    def _shown(self, texts: Iterator[str], marks: Marks, stop: Event) -> Iterator[Piece]:
        """The answer cut at its marks; a call behind it is not shown and not done."""
        calls = StopStrings((_CALL_LINE,))
        for text in texts:
            yield from marks.feed(calls.feed(text))
            if stop.is_set() or calls.found:
                break
        yield from marks.feed(calls.finish())
        yield from marks.finish()


def _first_object(head: str, texts: Iterator[str]) -> str:
    """A reply up to the end of its first JSON object, or whole where it holds none; no more is waited for."""
    said = head
    for text in texts:
        if isinstance(read_call(said), Call) or len(said) > MAX_CALL_CHARS:
            break
        said += text
    return said.strip()
