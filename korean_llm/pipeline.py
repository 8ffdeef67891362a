"""Plan the stages of a recipe, skip what is unchanged, run the rest in order. Knows nothing of torch."""

from __future__ import annotations

import gc
import importlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from korean_llm import artifact, console
from korean_llm.corpus.card import load_card
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.provenance import git_commit, versions
from korean_llm.recipe import SECTIONS, Recipe, load_recipe
from korean_llm.run_folder import RECIPE_COPY, disk_errors, opened
from korean_llm.settings import Strict


@dataclass(frozen=True)
class Stage:
    """A stage as the pipeline sees it: module, artifacts it reads (the first there is of each role), help."""

    name: str
    module: str
    summary: str
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    resumable: bool = False


_MODEL = ("pretraining", "vocabulary", "base")
# Instruction tuning leaves a model or an adapter: it is read as whichever it is, see Run._writes.
_TUNED = ("instruction", *_MODEL)
_ADAPTER = ("online", "preference", "instruction")

STAGES = (
    Stage("base", "korean_llm.modeling.stage", "fetch the base model and tokenizer, unchanged"),
    Stage("corpus", "korean_llm.corpus.stage", "read, clean, deduplicate, mask personal data, hold out"),
    Stage(
        "vocabulary",
        "korean_llm.vocabulary.stage",
        "learn Korean tokens, extend tokenizer and model, prove that old text is untouched",
        {"base": ("base",), "corpus": ("corpus",)},
    ),
    Stage(
        "pretraining",
        "korean_llm.training.pretrain",
        "continue pretraining on packed blocks, in phases",
        {"model": ("vocabulary", "base"), "corpus": ("corpus",)},
        resumable=True,
    ),
    Stage(
        "instruction",
        "korean_llm.training.instruct",
        "tune on instructions, assistant tokens only",
        {"model": _MODEL},
        resumable=True,
    ),
    Stage(
        "reward",
        "korean_llm.training.reward",
        "learn to score answers from pairs of a better and a worse one",
        {"model": _TUNED},
        resumable=True,
    ),
    Stage(
        "rejection_sampling",
        "korean_llm.training.rejection_sampling",
        "answer prompts several times, keep the best-scored answers as an instruction corpus",
        {"model": _TUNED, "adapter": ("instruction",), "reward": ("reward",)},
        resumable=True,
    ),
    Stage(
        "preference",
        "korean_llm.training.prefer",
        "tune the adapter on preferred answers",
        {"model": _TUNED, "adapter": ("instruction",)},
        resumable=True,
    ),
    Stage(
        "online",
        "korean_llm.training.online",
        "tune the adapter on its own answers, as the reward model scores them",
        {"model": _TUNED, "adapter": _ADAPTER[1:], "reward": ("reward",)},
        resumable=True,
    ),
    Stage(
        "export",
        "korean_llm.export.stage",
        "merge the adapter, write safetensors and GGUF, compare with the unquantized model",
        {"model": _TUNED, "adapter": _ADAPTER, "corpus": ("corpus",)},
    ),
    Stage("retrieval", "korean_llm.retrieval.stage", "index documents for hybrid search and measure it"),
    Stage(
        "evaluation",
        "korean_llm.evaluation.stage",
        "measure every model of the run and write the report",
        {name: (name,) for name in ("base", *SECTIONS) if name != "evaluation"},
    ),
)
_TUNING = ("instruction", "reward", "rejection_sampling", "preference", "online")
STAGE_NAMES = tuple(stage.name for stage in STAGES)

Action = Literal["run", "skip"]


@dataclass(frozen=True)
class Step:
    """One stage of one recipe: what it would do, and why."""

    stage: Stage
    action: Action
    reason: str


@dataclass(frozen=True)
class Selection:
    """Which stages a command asks for. `force` runs the selected ones even if nothing changed."""

    start: str | None = None
    until: str | None = None
    only: str | None = None
    force: bool = False

    def names(self, present: list[str]) -> list[str]:
        """The selected stages, in order. Raises KoreanLLMError for a name the recipe does not have."""
        if self.only and (self.start or self.until):
            raise KoreanLLMError("--only cannot be combined with --from or --until; give one or the other.")
        for option, name in (("--from", self.start), ("--until", self.until), ("--only", self.only)):
            if name and name not in present:
                raise KoreanLLMError(f"{option} {name}: no such stage in this recipe; it has: {', '.join(present)}.")
        if self.only:
            return [self.only]
        first = present.index(self.start) if self.start else 0
        last = present.index(self.until) if self.until else len(present) - 1
        if first > last:
            raise KoreanLLMError(f"--from {self.start} comes after --until {self.until}; nothing is left to run.")
        return present[first : last + 1]


class Run:
    """A recipe and the folder its artifacts stand in."""

    def __init__(self, recipe: Recipe, text: str, folder: Path, machine: Machine) -> None:
        self.recipe = recipe
        self.text = text
        self.folder = folder
        self.machine = machine
        self.stages = [stage for stage in STAGES if stage.name == "base" or getattr(recipe, stage.name) is not None]

    @property
    def names(self) -> list[str]:
        """Stages of this recipe in order."""
        return [stage.name for stage in self.stages]

    def settings(self, stage: Stage) -> Strict:
        """The stage's own settings, and nothing else."""
        return self.recipe.base if stage.name == "base" else getattr(self.recipe, stage.name)

    def _corpora(self, stage: Stage) -> dict[str, str]:
        """Role → corpus named in the recipe, for the stages that read corpora."""
        recipe = self.recipe
        if stage.name == "corpus" and recipe.corpus:
            return {f"source:{name}": name for name in recipe.corpus.sources}
        if stage.name in _TUNING:
            return {f"data:{name}": name for name in getattr(recipe, stage.name).data}
        if stage.name == "retrieval" and recipe.retrieval:
            documents = {f"documents:{name}": name for name in recipe.retrieval.documents}
            return documents | {f"questions:{name}": name for name in recipe.retrieval.questions}
        return {}

    def sources(self, stage: Stage) -> dict[str, str]:
        """Role → the stage of this recipe whose artifact stands for it: the first there is."""
        found = {
            role: next((name for name in candidates if name in self.names and self._writes(name, role)), None)
            for role, candidates in stage.reads.items()
        }
        return {role: name for role, name in found.items() if name is not None}

    def _writes(self, name: str, role: str) -> bool:
        """Whether a stage leaves what a role stands for: instruction tuning leaves a model or an adapter."""
        instruction = self.recipe.instruction
        if name != "instruction" or instruction is None or role not in ("model", "adapter"):
            return True
        return instruction.writes == role

    def inputs(self, stage: Stage) -> tuple[dict[str, Path], dict[str, str]]:
        """Role → folder and role → fingerprint of everything the stage reads that stands already."""
        folders: dict[str, Path] = {}
        fingerprints: dict[str, str] = {}
        for role, name in self.sources(stage).items():
            manifest = artifact.load_manifest(self.folder / name)
            if manifest is None:
                raise KoreanLLMError(
                    f"stage {stage.name!r} reads the artifact {name!r}, which is not complete in {self.folder};"
                    f" run again with --from {name}."
                )
            folders[role], fingerprints[role] = self.folder / name, manifest.fingerprint
        for role, corpus in self._corpora(stage).items():
            card = load_card(corpus)
            folders[role], fingerprints[role] = card.folder, card.fingerprint
        return folders, fingerprints

    def identity(self, stage: Stage, fingerprints: dict[str, str]) -> dict[str, Any]:
        """What decides whether a finished artifact still answers: kind, settings, inputs, seed."""
        return {
            "kind": stage.name,
            "settings": self.settings(stage).model_dump(mode="json"),
            "inputs": fingerprints,
            "seed": self.recipe.seed,
        }

    def state(self, stage: Stage) -> tuple[Action, str]:
        """Whether a stage would run, and why. Reads, never writes."""
        folder = self.folder / stage.name
        manifest = artifact.load_manifest(folder)
        if manifest is None:
            partial = artifact.partial_folder(folder).exists()
            return "run", "was interrupted" if partial else "has not run"
        _, fingerprints = self.inputs(stage)
        wanted = self.identity(stage, fingerprints)
        for part in ("settings", "seed", "inputs"):
            if wanted[part] != getattr(manifest, part):
                return "run", f"{part} changed{_changed(wanted[part], getattr(manifest, part))}"
        damaged = artifact.problems(folder, manifest, thorough=False)
        return ("run", damaged[0]) if damaged else ("skip", "nothing changed")

    def plan(self, selection: Selection) -> list[Step]:
        """What a run would do now; a stage after one that runs is taken to run as well."""
        selected = selection.names(self.names)
        steps: list[Step] = []
        upstream: set[str] = set()
        for stage in self.stages:
            if stage.name not in selected:
                continue
            if selection.force:
                action, reason = "run", "--force"
            elif before := [name for names in stage.reads.values() for name in names if name in upstream]:
                action, reason = "run", f"{before[0]} runs before it"
            else:
                action, reason = self.state(stage)
            if action == "run":
                upstream.add(stage.name)
            steps.append(Step(stage, action, reason))  # type: ignore[arg-type]
        return steps

    def execute(self, selection: Selection) -> list[Step]:
        """Run the selected stages in order; returns what was done. Raises KoreanLLMError."""
        selected = selection.names(self.names)
        done: list[Step] = []
        with opened(self.folder, self.recipe.name, self.text):
            for stage in self.stages:
                artifact.recover(self.folder / stage.name)
            for stage in self.stages:
                if stage.name not in selected:
                    continue
                action, reason = ("run", "--force") if selection.force else self.state(stage)
                if action == "run":
                    console.note(f"{stage.name}: {stage.summary} ({reason})")
                    self._run_stage(stage)
                else:
                    console.note(f"{stage.name}: skipped, {reason}")
                done.append(Step(stage, action, reason))  # type: ignore[arg-type]
        return done

    def _run_stage(self, stage: Stage) -> None:
        folder = self.folder / stage.name
        folders, fingerprints = self.inputs(stage)
        self._check_inputs(stage, folders)
        identity = self.identity(stage, fingerprints)
        started, start = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        with disk_errors(stage.name, self.folder):
            out = artifact.begin(folder, identity, keep="checkpoints" if stage.resumable else None)
            result = self._call(stage, folders, out)
            manifest = artifact.Manifest(
                kind=stage.name,
                settings=identity["settings"],
                inputs=fingerprints,
                files=artifact.describe_files(out),
                counts=result.get("counts", {}),
                metrics=result.get("metrics", {}),
                seed=self.recipe.seed,
                versions=versions(),
                git_commit=git_commit(),
                start=start,
                seconds=round(time.monotonic() - started, 1),
                device=self.machine.describe(),
            )
            artifact.finish(folder, manifest)
        console.note(f"{stage.name}: done in {manifest.seconds:.0f} s")

    def _check_inputs(self, stage: Stage, folders: dict[str, Path]) -> None:
        """Nothing is built on a damaged artifact. Raises KoreanLLMError that names the damaged file."""
        for role in stage.reads.keys() & folders.keys():
            manifest = artifact.load_manifest(folders[role])
            if manifest and (found := artifact.problems(folders[role], manifest, thorough=False)):
                raise KoreanLLMError(
                    f"stage {stage.name!r} reads a damaged artifact: {found[0]}; run again with"
                    f" --from {folders[role].name} to rebuild it."
                )

    def _call(self, stage: Stage, folders: dict[str, Path], out: Path) -> dict[str, Any]:
        """Import the stage's module and run it."""
        if stage.name == "retrieval" and self.recipe.retrieval and self.recipe.retrieval.encoder:
            encoder = importlib.import_module("korean_llm.modeling.encoder")
            folders["encoder"] = encoder.encoder_folder(self.recipe.retrieval.encoder, self.machine.origin)
        run = importlib.import_module(stage.module).run
        result: dict[str, Any] = run(self.settings(stage), folders, out, self.machine, self.recipe.seed)
        gc.collect()  # trainers and models hold each other in circles; the next stage needs their memory
        return result


def _changed(new: Any, old: Any) -> str:
    """The first keys that differ, for the reason line."""
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return f" ({old} → {new})"
    keys = [key for key in sorted(new.keys() | old.keys()) if new.get(key) != old.get(key)]
    return f" ({', '.join(keys[:3])})"


def open_run(recipe_path: Path, out: Path | None, machine: Machine) -> Run:
    """Load a recipe and tie it to its run folder (`runs/<name>` unless told otherwise)."""
    recipe = load_recipe(recipe_path)
    return Run(recipe, recipe_path.read_text(encoding="utf-8"), out or Path("runs") / recipe.name, machine)


def find_run(folder: Path) -> Run:
    """Open an existing run folder. Raises KoreanLLMError where there is none."""
    if not (folder / RECIPE_COPY).exists():
        runs = sorted(path.parent.name for path in Path("runs").glob(f"*/{RECIPE_COPY}"))
        exists = f"runs/ holds: {', '.join(runs)}" if runs else "there is no run in runs/ yet"
        raise KoreanLLMError(
            f"{folder} is not a run of korean-llm; {exists}; make one with `korean-llm run recipes/quickstart.yaml`."
        )
    return open_run(folder / RECIPE_COPY, folder, Machine())
