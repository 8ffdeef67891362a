"""A model that may search again, open a document and calculate before it answers, in a few visible steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from threading import Event

from korean_llm.answering.answer import Answer, Answerer, Mode, Piece, Place, Request, Step, Trace
from korean_llm.answering.cite import Marks, nearest_documents
from korean_llm.answering.conversation import NO_ANSWER, Conversation
from korean_llm.answering.extractive import NUM_NEAREST
from korean_llm.answering.generate import Generator
from korean_llm.answering.generative import EMPTY, UNCITED
from korean_llm.answering.rewrite import understood
from korean_llm.answering.stream import StopStrings
from korean_llm.answering.tools import MAX_CALL_CHARS, Call, Result, Tools, read_call
from korean_llm.chat import Message
from korean_llm.retrieval import Index
from korean_llm.retrieval.index import checked_question

MAX_STEPS = 6
MAX_S = 120.0
MAX_REPEATS = 2

_REPEATED = "같은 부름을 되풀이했습니다. 다른 것을 찾거나 답하세요."
_CALL_LINE = '\n{"tool"'


@dataclass
class _Work:
    """What has been done for one question so far."""

    question: str
    tools: Tools
    talk: Conversation
    messages: list[Message] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    done: set[Call] = field(default_factory=set)
    rounds: int = 0
    repeats: int = 0
    start: float = field(default_factory=time.monotonic)
    first_s: float | None = None

    def tell(self, step: Step) -> Piece:
        """The step as it is shown."""
        self.steps.append(step)
        return Piece("", step=step)


class AgentAnswerer(Answerer):
    """Answers like the generative mode, from what a model finds in up to six steps of its own.

    The first step is always a search for the question. Calls of tools are read from the model's replies alone.
    """

    mode: Mode = "generative"

    def __init__(
        self, index: Index, generator: Generator, notice: str, *, max_steps: int = MAX_STEPS, max_s: float = MAX_S
    ) -> None:
        """max_steps, max_s: calls and seconds after which the model has to answer."""
        self.index, self.generator, self.notice = index, generator, notice
        self.max_steps, self.max_s = max_steps, max_s

    def stream(self, asked: Request | str, stop: Event | None = None) -> Iterator[Piece]:
        """Steps as they are done, then pieces as the model writes them; the last carries the whole answer."""
        request, stop = Request.of(asked), stop or Event()
        question = checked_question(request.question)
        meant = understood(request, self.generator)
        work = _Work(question, Tools(self.index), Conversation(meant or question))
        if meant:
            yield work.tell(Step("rewrite", question, meant))
        yield self._do(work, Call("search", meant or question))
        said: Iterator[str] | None = None
        while said is None and not stop.is_set():
            call, said = self._reply(work, request, stop)
            if call is not None:
                yield from self._called(work, call)
        marks = Marks(work.tools.passages)
        for piece in self._shown(said or iter(()), marks, stop):
            yield from self._kept(work, piece)
        if not work.pieces and not stop.is_set():
            yield from self._kept(work, Piece(EMPTY))
        yield Piece("", answer=self._answer(work, marks, meant, stop.is_set()))

    def _reply(self, work: _Work, request: Request, stop: Event) -> tuple[str | None, Iterator[str] | None]:
        """What the model says next: the words of a call, or an answer as it is streamed."""
        last = self._enough(work)
        work.messages = work.talk.messages(self.generator.measure, self.generator.budget, last=last)
        texts = self.generator.generate(work.messages, request.sampling, stop)
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

    def _kept(self, work: _Work, piece: Piece) -> Iterator[Piece]:
        """The piece, remembered; white space before the first word is dropped."""
        if not work.pieces:
            piece = replace(piece, text=piece.text.lstrip())
        if piece.text:
            if work.first_s is None:
                work.first_s = time.monotonic() - work.start
            work.pieces.append(piece)
            yield piece

    def _answer(self, work: _Work, marks: Marks, meant: str, stopped: bool) -> Answer:
        cited = marks.citations
        sure = bool(cited) or work.tools.calculated
        return Answer(
            question=work.question,
            mode=self.mode,
            pieces=tuple(work.pieces),
            citations=cited,
            found=sure or NO_ANSWER not in "".join(piece.text for piece in work.pieces),
            nearest=() if cited else nearest_documents(self.index, work.tools.hits, NUM_NEAREST),
            notice=self.notice if sure else f"{self.notice} {UNCITED}",
            stopped=stopped,
            understood=meant,
            steps=tuple(work.steps),
            trace=self._trace(work),
        )

    def _trace(self, work: _Work) -> Trace:
        return Trace(
            prompt=tuple(work.messages),
            hits=tuple(Place(hit.document_id, hit.start, hit.end, hit.score) for hit in work.tools.hits),
            index=str(getattr(self.index, "fingerprint", "")),
            model=self.generator.fingerprint,
            adapter=self.generator.adapter_fingerprint,
            first_s=work.first_s,
            whole_s=time.monotonic() - work.start,
        )


def _first_object(head: str, texts: Iterator[str]) -> str:
    """A reply up to the end of its first JSON object, or whole where it holds none; no more is waited for."""
    said = head
    for text in texts:
        if isinstance(read_call(said), Call) or len(said) > MAX_CALL_CHARS:
            break
        said += text
    return said.strip()
