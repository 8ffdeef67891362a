"""Open what a run has to answer with: its index, its model, or an endpoint in the model's place."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from korean_llm import console
from korean_llm.answering.agent.answerer import AgentAnswerer
from korean_llm.answering.answer import MODES, Answerer, Mode
from korean_llm.answering.cache.answerer import CachedAnswerer
from korean_llm.answering.cache.store import KeptAnswers
from korean_llm.answering.extractive import ExtractiveAnswerer
from korean_llm.answering.feedback.store import RECORDS
from korean_llm.answering.generative import GenerativeAnswerer
from korean_llm.answering.models import Models
from korean_llm.answering.prompt import INSTRUCTIONS, Prompting
from korean_llm.answering.writing.endpoint import Endpoint
from korean_llm.answering.writing.generate import Generator
from korean_llm.answering.writing.places import ModelPlace, find_model
from korean_llm.artifact import digest, load_manifest
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.shape import from_config
from korean_llm.pipeline import RECIPE_COPY, find_run
from korean_llm.retrieval import Index

TRUSTED_PARAMETERS = 3_000_000_000
"""A smaller model's own sentences are not to be trusted; it answers in extracts unless told otherwise."""

QUESTIONS = "questions.json"
KEPT = Path(RECORDS) / "kept.sqlite"

Trust = Literal["extracts", "extracts_small", "written", "written_small"]

NOTICES: dict[Trust, str] = {
    "extracts": "글을 짓지 않고 문서의 문장을 그대로 옮깁니다.",
    "extracts_small": "모델이 작아서(매개변수 {size} 개) 글을 짓지 않고 문서의 문장을 그대로 옮깁니다.",
    "written": "언어 모델이 쓴 글이라 사실과 다를 수 있습니다. 번호를 눌러 근거를 확인하세요.",
    "written_small": "매개변수 {size} 개인 작은 모델이 지은 글이라 믿을 수 없습니다. 시험 삼아 보기만 하세요.",
}


class Library:
    """A run's index and the answerers over it, each opened when first asked for.

    Attributes:
        place: the run's model, or None where it has none.
        models: what can be picked in its stead.
    """

    def __init__(
        self,
        run_folder: Path,
        machine: Machine,
        endpoint: str | None = None,
        model: str | None = None,
        *,
        cache: bool = False,
    ) -> None:
        """cache: keep answers and give them again. Raises KoreanLLMError where the folder is no run or has no index."""
        self._run = find_run(run_folder)
        self.folder, self.machine, self.endpoint, self.model = run_folder, machine, endpoint, model
        self._kept = KeptAnswers(run_folder / KEPT) if cache else None
        self.place = find_model(run_folder)
        self.models = Models(run_folder, machine)
        self._index_folder = _index_folder(run_folder)

    @cached_property
    def index(self) -> Index:
        """The search index."""
        with console.working("opening the search index"):
            return Index.open(self._index_folder, self.machine)

    @property
    def name(self) -> str:
        """The run's name."""
        return self._run.recipe.name

    @property
    def keeps_answers(self) -> bool:
        """Whether answers are kept and given again."""
        return self._kept is not None

    @property
    def default_mode(self) -> Mode:
        """Generative with an endpoint, or with a model that can be trusted and a GPU to run it; else extractive."""
        if self.endpoint:
            return "generative"
        trusted = (self.parameters() or 0) >= TRUSTED_PARAMETERS
        return "generative" if trusted and self.machine.torch_device().type == "cuda" else "extractive"

    def trust(self, mode: Mode, model: ModelPlace | None = None) -> Trust:
        """How far to trust the answers of a mode, as the key of what is said about it."""
        size = self.parameters(model)
        small = bool(size) and (size or 0) < TRUSTED_PARAMETERS and not (self.endpoint and model is None)
        if mode == "extractive":
            return "extracts_small" if small else "extracts"
        return "written_small" if small else "written"

    def notice(self, mode: Mode, model: ModelPlace | None = None) -> str:
        """One line in Korean on how far to trust the answers of a mode."""
        return NOTICES[self.trust(mode, model)].format(size=korean_count(self.parameters(model) or 0))

    def parameters(self, model: ModelPlace | None = None) -> int | None:
        """How large a model is (the run's own without one); None where the run has none."""
        place = model or self.place
        return _parameters(place.model) if place else None

    def ready(self, mode: Mode, model: ModelPlace | None = None) -> bool:
        """Whether the mode's model is open already."""
        place = model or self.place
        return mode == "extractive" or (place is not None and self.models.is_open(place)) or "_endpoint" in vars(self)

    def answerer(
        self, mode: Mode, index: Index | None = None, model: ModelPlace | None = None, *, agent: bool = False
    ) -> Answerer:
        """The answerer of a mode, over the run's index or another, with the run's model or another.

        agent: the model of the generative mode also searches again, opens documents and calculates; such answers are
        not kept. Raises KoreanLLMError where the model is missing or out of reach.
        """
        index, notice = index or self.index, self.notice(mode, model)
        if mode == "extractive":
            return self._keeping(ExtractiveAnswerer(index, notice), index)
        generator = self.generator(model)
        if agent:
            return AgentAnswerer(index, generator, notice)
        return self.written(generator, index, notice)

    def written(self, generator: Generator, index: Index, notice: str) -> Answerer:
        """What a model writes over an index, with the recipe's way of prompting."""
        answerer = GenerativeAnswerer(index, generator, notice, self._prompting)
        prints = generator.fingerprint, generator.adapter_fingerprint, digest([INSTRUCTIONS, repr(self._prompting)])
        return self._keeping(answerer, index, *prints)

    def _keeping(self, answerer: Answerer, index: Index, *prints: str) -> Answerer:
        """The answerer behind the run's kept answers, where the library keeps any; prints: what made its answers."""
        return answerer if self._kept is None else CachedAnswerer(answerer, self._kept, index, *prints)

    @cached_property
    def _prompting(self) -> Prompting:
        return Prompting.of(self._run.recipe.answering)

    def example_questions(self, count: int) -> list[str]:
        """Questions that the run was measured with and whose passage it finds first, of different documents."""
        path = self._index_folder / QUESTIONS
        if not path.exists():
            return []
        by_document: dict[str, str] = {}
        for row in json.loads(path.read_text(encoding="utf-8")):
            if row["ranks"]["hybrid"] == 1:
                known = by_document.get(row["document_id"])
                by_document[row["document_id"]] = min(known or row["question"], row["question"], key=len)
        return sorted(by_document.values(), key=len)[:count]

    @cached_property
    def _endpoint(self) -> Endpoint:
        assert self.endpoint is not None
        return Endpoint(self.endpoint, self.model)

    def generator(self, model: ModelPlace | None = None) -> Generator:
        """The endpoint, the run's model or another. Raises KoreanLLMError where it is missing or out of reach."""
        if model is None and self.endpoint:
            return self._endpoint
        place = model or self.place
        if place is None:
            raise KoreanLLMError(
                f"{self.folder} holds no finished model; finish it with `korean-llm run {self.folder / RECIPE_COPY}`,"
                " or name a server with --endpoint."
            )
        return self.models.open(place)


def open_index(run_folder: Path, machine: Machine | None = None) -> Index:
    """The search index of a run. Raises KoreanLLMError where the folder is no run, or the run has no index."""
    return Library(run_folder, machine or Machine()).index


def open_answerer(
    run_folder: Path, mode: str, machine: Machine, endpoint: str | None = None, model: str | None = None
) -> Answerer:
    """Answers from a run's documents; mode: extractive, generative, or auto for what the model is good for.

    Raises KoreanLLMError for another mode, where the run has no index, or the mode's model cannot be had.
    """
    library = Library(run_folder, machine, endpoint, model)
    if mode == "auto":
        return library.answerer(library.default_mode)
    for known in MODES:
        if mode == known:
            return library.answerer(known)
    raise KoreanLLMError(f"--mode {mode!r} is not known; expected auto, {' or '.join(MODES)}.")


@lru_cache
def _parameters(model: Path) -> int:
    return from_config(model / "config.json").parameters


def korean_count(number: int) -> str:
    """A large number as Korean counts it, two digits exact: 134515008 → "1.3억"."""
    unit, name = (10**8, "억") if number >= 10**8 else (10**4, "만")
    return f"{float(f'{number / unit:.2g}'):,g}{name}"


def _index_folder(run_folder: Path) -> Path:
    folder = run_folder / "retrieval"
    if load_manifest(folder) is None:
        recipe = run_folder / RECIPE_COPY
        has_stage = find_run(run_folder).recipe.retrieval is not None
        advice = (
            f"make it with `korean-llm run {recipe} --out {run_folder} --only retrieval`"
            if has_stage
            else f"add a section `retrieval` with `documents` to its recipe and run it again with --out {run_folder}"
        )
        raise KoreanLLMError(f"{run_folder} has no search index to answer from; {advice}.")
    return folder
