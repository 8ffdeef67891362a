"""What a run offers to clients: its index, its models on an engine, its encoder, its feedback, all opened and tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from korean_llm.answering.agent.answerer import AgentAnswerer
from korean_llm.answering.answer import Answerer
from korean_llm.answering.feedback import Feedback, feedback_path
from korean_llm.answering.library import Library
from korean_llm.answering.writing.endpoint import Endpoint
from korean_llm.answering.writing.generate import Generator
from korean_llm.machine import Machine, available_cores
from korean_llm.modeling.load import load_tokenizer
from korean_llm.serving.app import Encoding, Service
from korean_llm.serving.engine import Engine, Kind, running
from korean_llm.serving.limits import Gate
from korean_llm.serving.speak import Counter, Speaker, cited, plain
from korean_llm.serving.work import Work

MAX_CPU_SLOTS = 4
ENDPOINT_SLOTS = 8


@dataclass(frozen=True)
class Settings:
    """How a run is served.

    Attributes:
        endpoint, model: an OpenAI-compatible server in the place of an engine of ours, and the model's name there.
        line: requests that may wait for a slot. rate: requests a second of one key or address, 0 for no limit; a
            client may send twice as many at once.
        time_limit_s: of one request. stop_s: what runs when the server is asked to stop may go on for so long.
    """

    run: Path
    host: str = "127.0.0.1"
    port: int = 8000
    key_file: Path | None = None
    engine: Kind = "auto"
    endpoint: str | None = None
    model: str | None = None
    machine: Machine = field(default_factory=Machine)
    cache: bool = False
    feedback: bool = True
    line: int = 64
    rate: float = 20.0
    time_limit_s: float = 120.0
    stop_s: float = 10.0


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """The service over a run. Raises KoreanLLMError where the run has no index, or its engine cannot be started."""
    library = Library(settings.run, settings.machine, settings.endpoint, settings.model, cache=settings.cache)
    kind: Kind = "none" if settings.endpoint else settings.engine
    with running(kind, settings.run, library.name, settings.machine) as engine, ExitStack() as closing:
        if settings.endpoint:
            engine = Engine("endpoint", num_parallel=ENDPOINT_SLOTS)
        feedback = Feedback(feedback_path(settings.run)) if settings.feedback else None
        if feedback is not None:
            closing.callback(feedback.close)
        service = _service(settings, library, engine, feedback)
        closing.callback(service.work.close)
        yield service


def _service(settings: Settings, library: Library, engine: Engine, feedback: Feedback | None) -> Service:
    slots = min(MAX_CPU_SLOTS, available_cores())
    if settings.machine.torch_device().type == "cpu":
        torch.set_num_threads(max(1, available_cores() // slots))
    offer = _Offer(library, feedback, _counter(library, settings))
    offer.extractive(Gate(slots, settings.line))
    if engine.kind != "none":
        offer.written(_generator(library, engine), Gate(engine.num_parallel, settings.line))
    return Service(
        speakers=offer.speakers,
        encoding=_encoding(library, Gate(1, settings.line)),
        feedback=feedback,
        work=Work(1 + slots + engine.num_parallel, settings.time_limit_s),
        alive=engine.alive,
    )


class _Offer:
    """The models that answer, one after the other."""

    def __init__(self, library: Library, feedback: Feedback | None, counter: Counter) -> None:
        self.speakers: list[Speaker] = []
        self._library, self._feedback, self._counter = library, feedback, counter

    def extractive(self, gate: Gate) -> None:
        """The documents' own sentences; tried once, so that the first client does not wait for Kiwi and the encoder."""
        answerer = self._library.answerer("extractive")
        answerer.answer(_first_question(self._library))
        self._add("extractive", gate, answerer)

    def written(self, generator: Generator, gate: Gate) -> None:
        """What a model writes: over the documents, over what it looks up itself, and without documents."""
        index, notice = self._library.index, self._library.notice("generative")
        self._add("generative", gate, self._library.written(generator, index, notice))
        self._add("agent", gate, AgentAnswerer(index, generator, notice))
        self.speakers.append(Speaker(self._library.name, gate, plain(generator, self._counter)))

    def _add(self, name: str, gate: Gate, answerer: Answerer) -> None:
        speak = cited(answerer, self._counter, self._feedback)
        self.speakers.append(Speaker(f"{self._library.name}-{name}", gate, speak))


def _generator(library: Library, engine: Engine) -> Generator:
    """The run's model on its engine, or the one at the endpoint."""
    if engine.url:
        return Endpoint(engine.url, engine.model)
    return library.generator()


def _first_question(library: Library) -> str:
    """A question that the documents answer, so that answering it goes all the way."""
    return next(iter(library.example_questions(1)), "") or library.index.documents[0].text[:100].strip() or "준비"


def _counter(library: Library, settings: Settings) -> Counter:
    """Counts with the tokenizer of the run's model; a server elsewhere may have another, which is not at hand."""
    place = library.place
    return Counter(load_tokenizer(place.adapter or place.model) if place and not settings.endpoint else None)


def _encoding(library: Library, gate: Gate) -> Encoding | None:
    dense = library.index.dense
    return Encoding(f"{library.name}-embedding", dense.encoder, gate) if dense else None
