"""The whole recipe: its sections, and what does not fit between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from korean_llm.recipe.answering import AnsweringSettings
from korean_llm.recipe.corpus import CorpusSettings
from korean_llm.recipe.fields import ModelSource
from korean_llm.recipe.instruction import InstructionSettings
from korean_llm.recipe.preference import PreferenceSettings, RewardSettings
from korean_llm.recipe.pretraining import PretrainingSettings
from korean_llm.recipe.retrieval import RetrievalSettings
from korean_llm.recipe.sampling import OnlineSettings, RejectionSamplingSettings
from korean_llm.recipe.serving import EvaluationSettings, ExportSettings
from korean_llm.recipe.vocabulary import VocabularySettings
from korean_llm.settings import Strict, parse, read_yaml


class Recipe(Strict):
    """One run, whole. Sections stand in the order in which their stages run; each is optional.

    `answering` is no stage: it says how the finished run answers, and changing it makes nothing run again.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Name of the run and of its folder.")
    base: ModelSource
    seed: int = Field(default=17, ge=0, lt=2**32, description="Seed of every random choice; NumPy takes 32 bits.")
    corpus: CorpusSettings | None = None
    vocabulary: VocabularySettings | None = None
    pretraining: PretrainingSettings | None = None
    instruction: InstructionSettings | None = None
    reward: RewardSettings | None = None
    rejection_sampling: RejectionSamplingSettings | None = None
    preference: PreferenceSettings | None = None
    online: OnlineSettings | None = None
    export: ExportSettings | None = None
    retrieval: RetrievalSettings | None = None
    evaluation: EvaluationSettings | None = None
    answering: AnsweringSettings | None = None


SECTIONS = (
    "corpus",
    "vocabulary",
    "pretraining",
    "instruction",
    "reward",
    "rejection_sampling",
    "preference",
    "online",
    "export",
    "retrieval",
    "evaluation",
)


def misfits(value: Any) -> list[str]:
    """What does not fit between the sections of a recipe, one line each.

    It looks at the file as written, not at the validated recipe: so it is reported beside errors inside sections.
    """
    if not isinstance(value, dict):
        return []
    sections = (*SECTIONS, "answering")
    present = {name for name in sections if value.get(name) is not None}
    empty = [name for name in sections if name in value and name not in present]
    lines = [f"{name}: empty; write `{name}: {{}}` for its defaults, or take the key out" for name in empty]
    if "corpus" not in present:
        learners = [name for name in ("vocabulary", "pretraining") if name in present]
        lines += [f"{name}: expected a section 'corpus' as well: {name} learns from it" for name in learners]
    judged = [name for name in ("rejection_sampling", "online") if name in present and "reward" not in present]
    lines += [f"{name}: expected a section 'reward' as well: its model judges the answers" for name in judged]
    lines += _unmerged(value, present)
    new = sorted(_groups_as_written(value) & {"new_input_rows", "new_output_rows"})
    if new and "vocabulary" not in present:
        lines.append(f"pretraining.phases: expected a section 'vocabulary' as well: the phases train {', '.join(new)}")
    return lines


def _unmerged(value: dict[Any, Any], present: set[str]) -> list[str]:
    """Virtual tokens stand before the text and fold into no weights: nothing can be put on top of them."""
    section = value.get("instruction")
    method = section.get("method") if isinstance(section, dict) else None
    if method not in ("prefix", "prompt"):
        return []
    return [
        f"{name}: does not fit instruction.method {method}, whose virtual tokens fold into no weights; expected lora,"
        " dora, qlora, head or full there"
        for name in ("preference", "online", "export")
        if name in present
    ]


def _groups_as_written(value: dict[Any, Any]) -> set[str]:
    try:
        named = [group for phase in value["pretraining"]["phases"] for group in phase["train"]]
        return {group for group in named if isinstance(group, str)}
    except (KeyError, TypeError):
        return set()


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe. Raises KoreanLLMError naming every error of the file."""
    value = read_yaml(path)
    recipe: Recipe = parse(Recipe, value, str(path), misfits(value))
    return recipe
