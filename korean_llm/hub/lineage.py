"""What a published artifact was made from: every manifest between it and the base, each tied to the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from korean_llm import console
from korean_llm.artifact import MANIFEST, Manifest, load_manifest, problems
from korean_llm.errors import KoreanLLMError
from korean_llm.recipe import SECTIONS, Recipe, load_recipe
from korean_llm.run_folder import RECIPE_COPY

PUBLISHABLE = ("export", "online", "preference", "instruction", "pretraining", "vocabulary")
"""Stages that leave a model or an adapter, the one to publish first."""

_STAGES = ("base", *SECTIONS)
_NAMED = (*PUBLISHABLE, "base")  # a base that no repository holds, such as one out of a wheel, when asked for by name


@dataclass(frozen=True)
class Lineage:
    """An artifact of a run and everything it stands on.

    Attributes:
        stage: the artifact's stage.
        text: the recipe, word for word.
        manifests: stage → manifest of the artifact and its ancestors, in the order of a run.
        evaluation: the run's evaluation, where it measured this very artifact.
    """

    run: Path
    stage: str
    recipe: Recipe
    text: str
    manifests: dict[str, Manifest]
    evaluation: Manifest | None

    @property
    def folder(self) -> Path:
        """The artifact's folder."""
        return self.run / self.stage

    @property
    def manifest(self) -> Manifest:
        """The artifact's own manifest."""
        return self.manifests[self.stage]

    @property
    def is_adapter(self) -> bool:
        """Whether it is an adapter, not a whole model."""
        return any(file.path.startswith("adapter/") for file in self.manifest.files)

    @property
    def model_stage(self) -> str:
        """The stage that left the model this one started from."""
        wanted = self.manifest.inputs.get("model") or self.manifest.inputs.get("base")
        return next(name for name, found in self.manifests.items() if found.fingerprint == wanted)


def trace(what: Path, stage: str | None = None) -> Lineage:
    """The lineage of a run's artifact; what: a run folder, or the folder of one of its artifacts.

    Every file of the artifact is verified. Raises KoreanLLMError where there is none, it is damaged, or the run has
    gone on since it was made.
    """
    run, name = _find(what, stage)
    manifests = {s: found for s in _STAGES if (found := load_manifest(run / s)) is not None}
    if name not in manifests:
        raise KoreanLLMError(
            f"{run} holds no finished {name!r} (finished: {', '.join(manifests) or 'nothing'}); make it with"
            f" `korean-llm run {run / RECIPE_COPY} --out {run} --until {name}`."
        )
    with console.working(f"verifying {run / name}"):
        if damage := problems(run / name, manifests[name]):
            raise KoreanLLMError(
                f"{damage[0]}; rebuild it with `korean-llm run {run / RECIPE_COPY} --out {run} --only {name} --force`."
            )
    kept = _ancestors(run, name, manifests)
    evaluation = manifests.get("evaluation")
    if evaluation and evaluation.inputs.get(name) != manifests[name].fingerprint:
        evaluation = None
    copy = run / RECIPE_COPY
    return Lineage(run, name, load_recipe(copy), copy.read_text(encoding="utf-8"), kept, evaluation)


def _find(what: Path, stage: str | None) -> tuple[Path, str]:
    """Run folder and stage. Raises KoreanLLMError where the folder is neither a run nor an artifact of one."""
    if stage not in (None, *_NAMED):
        raise KoreanLLMError(f"--stage {stage} leaves nothing to publish; expected one of: {', '.join(_NAMED)}.")
    if (what / RECIPE_COPY).exists():
        complete = [name for name in PUBLISHABLE if (what / name / MANIFEST).exists()]
        return what, stage or next(iter(complete), PUBLISHABLE[0])
    resolved = what.resolve()
    if (what / MANIFEST).exists() and (resolved.parent / RECIPE_COPY).exists():
        if resolved.name not in _NAMED or stage not in (None, resolved.name):
            raise KoreanLLMError(f"{what} is not published; expected one of: {', '.join(_NAMED)}, as a folder alone.")
        return resolved.parent, resolved.name
    raise KoreanLLMError(
        f"{what} is neither a run of korean-llm nor a finished artifact of one; give for instance runs/quickstart."
    )


def _ancestors(run: Path, name: str, manifests: dict[str, Manifest]) -> dict[str, Manifest]:
    """The artifact and all it was made from. Raises KoreanLLMError where an ancestor was made anew since."""
    by_fingerprint = {manifest.fingerprint: stage for stage, manifest in manifests.items()}
    kept, open_ = {name}, [name]
    while open_:
        current = open_.pop()
        for role, fingerprint in manifests[current].inputs.items():
            if ":" in role:
                continue  # a corpus: known by its card, not by a stage
            if fingerprint not in by_fingerprint:
                raise KoreanLLMError(
                    f"{run / current} was made from another {role} ({fingerprint[:12]}) than {run} holds now; run"
                    f" `korean-llm run {run / RECIPE_COPY} --out {run} --until {name}` first."
                )
            if (parent := by_fingerprint[fingerprint]) not in kept:
                kept.add(parent)
                open_.append(parent)
    return {stage: manifests[stage] for stage in _STAGES if stage in kept}
