"""What a run offers to clients: its index, its models on an engine, its encoder, its feedback, all opened and tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from korean_llm.answering.feedback import Feedback, feedback_path
from korean_llm.answering.generative import GenerativeAnswerer
from korean_llm.answering.library import Library
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
    library = Library(settings.run, settings.machine)
    kind: Kind = "none" if settings.endpoint else settings.engine
    with running(kind, settings.run, library.name, settings.machine) as engine:
        if settings.endpoint:
            engine = Engine("endpoint", settings.endpoint, settings.model, ENDPOINT_SLOTS)
        feedback = Feedback(feedback_path(settings.run)) if settings.feedback else None
        service = _service(settings, library, engine, feedback)
        try:
            yield service
        finally:
            service.work.close()
            if feedback is not None:
                feedback.close()


def _service(settings: Settings, library: Library, engine: Engine, feedback: Feedback | None) -> Service:
    name, slots = library.name, min(MAX_CPU_SLOTS, available_cores())
    searching = Gate(slots, settings.line)
    counter = _counter(library, settings)
    extractive = library.answerer("extractive")
    extractive.answer(_first_question(library))  # so that the first client does not wait for Kiwi and the encoder
    speakers = [Speaker(f"{name}-extractive", searching, cited(extractive, counter, feedback))]
    if engine.kind != "none":
        speakers += _written(settings, library, engine, counter, feedback)
    if settings.machine.torch_device().type == "cpu":
        torch.set_num_threads(max(1, available_cores() // slots))
    return Service(
        speakers=speakers,
        encoding=_encoding(library, Gate(1, settings.line)),
        feedback=feedback,
        work=Work(1 + slots + engine.num_parallel, settings.time_limit_s),
        alive=engine.alive,
    )


def _first_question(library: Library) -> str:
    """A question that the documents answer, so that answering it goes all the way."""
    return next(iter(library.example_questions(1)), "") or library.index.documents[0].text[:100].strip() or "준비"


def _written(
    settings: Settings, library: Library, engine: Engine, counter: Counter, feedback: Feedback | None
) -> list[Speaker]:
    """The models that write: over the documents, and plain."""
    if engine.url:
        library = Library(settings.run, settings.machine, engine.url, engine.model)
    answerer, gate = library.answerer("generative"), Gate(engine.num_parallel, settings.line)
    assert isinstance(answerer, GenerativeAnswerer)
    return [
        Speaker(f"{library.name}-generative", gate, cited(answerer, counter, feedback)),
        Speaker(library.name, gate, plain(answerer.generator, counter)),
    ]


def _counter(library: Library, settings: Settings) -> Counter:
    """Counts with the tokenizer of the run's model; a server elsewhere may have another, which is not at hand."""
    place = library.place
    return Counter(load_tokenizer(place.adapter or place.model) if place and not settings.endpoint else None)


def _encoding(library: Library, gate: Gate) -> Encoding | None:
    dense = library.index.dense
    return Encoding(f"{library.name}-embedding", dense.encoder, gate) if dense else None
