"""The models a reader may pick: those of the run, a folder, or an adapter from the Hub; few are open at a time."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from korean_llm import console
from korean_llm.answering.writing.places import ModelPlace, named_base, stage_model
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine

if TYPE_CHECKING:
    from korean_llm.answering.writing.local import LocalModel

STAGES = ("base", "pretraining", "instruction", "preference", "online", "export")
"""Stages that leave a model to talk to, the least adapted first."""

NUM_OPEN = 2
"""Models kept in memory; the one used longest ago gives way."""

_HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}(?:@\w[\w./-]{0,95})?", re.ASCII)


class Models:
    """Names what can be picked, finds what is typed, opens what is used.

    Attributes:
        offered: the run's models by stage, the least adapted first.
    """

    def __init__(self, run_folder: Path, machine: Machine) -> None:
        self._machine = machine
        self.offered = {stage: place for stage in STAGES if (place := stage_model(run_folder / stage))}
        self._found = dict(self.offered)
        self._open: OrderedDict[ModelPlace, LocalModel] = OrderedDict()
        self._opening = Lock()

    def find(self, choice: str, *, folders: bool = True) -> ModelPlace:
        """The model of a stage's name, a folder, or a Hub adapter id such as org/name or org/name@revision.

        folders: False where a reader from elsewhere must not name folders of this machine.
        Raises KoreanLLMError in one sentence where there is none, or an adapter does not fit its base.
        """
        choice = choice.strip()
        if choice not in self._found:
            self._found[choice] = self._looked_for(choice, folders)
        return self._found[choice]

    def _looked_for(self, choice: str, folders: bool) -> ModelPlace:
        if folders and choice and Path(choice).expanduser().is_dir():
            return self._folder(Path(choice).expanduser().resolve())
        if _HUB_ID.fullmatch(choice):
            from korean_llm.hub import fetch_adapter

            source, _, revision = choice.partition("@")
            with console.working(f"fetching the adapter {choice}"):
                return self._adapted(fetch_adapter(source, revision or None).folder)
        raise KoreanLLMError(
            f"{choice!r} is no model that can be opened; pick one of {', '.join(self.offered) or 'none'}, or give"
            f"{' a folder or' if folders else ''} a Hub adapter id such as org/name."
        )

    def is_open(self, place: ModelPlace) -> bool:
        """Whether the model is in memory."""
        return place in self._open

    def open(self, place: ModelPlace) -> LocalModel:
        """The model, opened where it is not in memory. Raises KoreanLLMError as LocalModel.open does."""
        from korean_llm.answering.writing.local import LocalModel

        with self._opening:
            if place not in self._open:
                while len(self._open) >= NUM_OPEN:
                    self._open.popitem(last=False)
                with console.working(f"opening the model {place.adapter or place.model}"):
                    self._open[place] = LocalModel.open(place, self._machine)
            self._open.move_to_end(place)
            return self._open[place]

    def _folder(self, folder: Path) -> ModelPlace:
        for inside in (folder, folder / "adapter", folder / "model"):
            if (inside / "adapter_config.json").is_file():
                return self._adapted(inside)
            if (inside / "config.json").is_file():
                return ModelPlace(inside)
        raise KoreanLLMError(
            f"{folder} holds neither a model nor an adapter; give a folder with config.json or adapter_config.json."
        )

    def _adapted(self, adapter: Path) -> ModelPlace:
        """The adapter on the base that it names, or else on the run's model that it fits."""
        from korean_llm.hub import check_adapter

        named = named_base(adapter)
        there = (named / "config.json").is_file()
        bases = [named] if there else [place.model for place in reversed(self.offered.values())]
        problems: list[KoreanLLMError] = []
        for base in dict.fromkeys(bases):
            try:
                check_adapter(adapter, base)
            except KoreanLLMError as error:
                problems.append(error)
            else:
                return ModelPlace(base, adapter)
        raise (
            problems[0] if problems else KoreanLLMError(f"the run has no model for the adapter {adapter} to stand on.")
        )
