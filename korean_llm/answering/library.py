"""Open what a run has to answer with: its index, its model, or an endpoint in the model's place."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from threading import Lock

from korean_llm import console
from korean_llm.answering.answer import MODES, Answerer, Mode
from korean_llm.answering.endpoint import Endpoint
from korean_llm.answering.extractive import ExtractiveAnswerer
from korean_llm.answering.generate import Generator, LocalModel, ModelPlace, find_model
from korean_llm.answering.generative import GenerativeAnswerer
from korean_llm.artifact import load_manifest
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.shape import from_config
from korean_llm.pipeline import RECIPE_COPY, find_run
from korean_llm.retrieval import Index

TRUSTED_PARAMETERS = 3_000_000_000
"""A smaller model's own sentences are not to be trusted; it answers in extracts unless told otherwise."""

QUESTIONS = "questions.json"


class Library:
    """A run's index and the answerers over it, each opened when first asked for.

    Attributes:
        place: the run's model, or None where it has none.
    """

    def __init__(
        self, run_folder: Path, machine: Machine, endpoint: str | None = None, model: str | None = None
    ) -> None:
        """Raises KoreanLLMError where the folder is no run, or the run has no index."""
        self._run = find_run(run_folder)
        self.folder, self.machine, self.endpoint, self.model = run_folder, machine, endpoint, model
        self.place = find_model(run_folder)
        self._index_folder = _index_folder(run_folder)
        self._answerers: dict[Mode, Answerer] = {}
        self._opening = Lock()

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
    def default_mode(self) -> Mode:
        """Generative with an endpoint, or with a model that can be trusted and a GPU to run it; else extractive."""
        if self.endpoint:
            return "generative"
        trusted = (self._parameters or 0) >= TRUSTED_PARAMETERS
        return "generative" if trusted and self.machine.torch_device().type == "cuda" else "extractive"

    def notice(self, mode: Mode) -> str:
        """One line in Korean on how far to trust the answers of a mode."""
        size, small = self._parameters, (self._parameters or 0) < TRUSTED_PARAMETERS
        if mode == "extractive":
            if size and small and not self.endpoint:
                return f"모델이 작아서(매개변수 {korean_count(size)} 개) 글을 짓지 않고 문서의 문장을 그대로 옮깁니다."
            return "글을 짓지 않고 문서의 문장을 그대로 옮깁니다."
        if self.endpoint:
            return "언어 모델이 쓴 글이라 사실과 다를 수 있습니다. 번호를 눌러 근거를 확인하세요."
        if size and small:
            return (
                f"매개변수 {korean_count(size)} 개인 작은 모델이 지은 글이라 믿을 수 없습니다. 시험 삼아 보기만 하세요."
            )
        return "언어 모델이 쓴 글이라 사실과 다를 수 있습니다. 번호를 눌러 근거를 확인하세요."

    def ready(self, mode: Mode) -> bool:
        """Whether the mode's model is open already."""
        return mode in self._answerers

    def answerer(self, mode: Mode) -> Answerer:
        """The answerer of a mode. Raises KoreanLLMError where its model is missing or out of reach."""
        index = self.index
        with self._opening:
            if mode not in self._answerers:
                notice = self.notice(mode)
                self._answerers[mode] = (
                    ExtractiveAnswerer(index, notice)
                    if mode == "extractive"
                    else GenerativeAnswerer(index, self._generator(), notice)
                )
            return self._answerers[mode]

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
    def _parameters(self) -> int | None:
        return from_config(self.place.model / "config.json").parameters if self.place else None

    def _generator(self) -> Generator:
        if self.endpoint:
            return Endpoint(self.endpoint, self.model)
        if self.place is None:
            raise KoreanLLMError(
                f"{self.folder} holds no finished model; finish it with `korean-llm run {self.folder / RECIPE_COPY}`,"
                " or name a server with --endpoint."
            )
        return open_model(self.place, self.machine)


def open_model(place: ModelPlace, machine: Machine) -> LocalModel:
    """Load a run's model under a spinner."""
    with console.working(f"opening the model {place.model}"):
        return LocalModel.open(place, machine)


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
