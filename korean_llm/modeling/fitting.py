"""What to change in a recipe whose training does not fit a card: tried with the estimate, cheapest change first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from korean_llm.modeling.memory import Memory, instruction_memory, pretraining_memory
from korean_llm.modeling.shape import Shape
from korean_llm.recipe import InstructionSettings, Phase, PretrainingSettings

Settings = TypeVar("Settings", PretrainingSettings, InstructionSettings)
# A change: its words, and the settings with it, or None where it does not apply.
Change = Callable[[Settings], tuple[str, Settings] | None]

_SHORTEST = 512
_NEW_ROWS = {"input_rows": "new_input_rows", "output_rows": "new_output_rows"}
_IN_4_BITS = {"lora", "new_input_rows", "new_output_rows"}


def pretraining_advice(
    shape: Shape, new_tokens: int, settings: PretrainingSettings, gpu_gib: float, gpus: int
) -> str | None:
    """None where pretraining fits; else what is needed and what to change, as a clause."""

    def need(changed: PretrainingSettings, num_gpus: int = gpus) -> Memory:
        return pretraining_memory(shape, new_tokens, changed, gpu_gib, num_gpus)

    memory = need(settings)
    if memory.total <= gpu_gib:
        return None
    ways = [_changes(settings, [_eight_bits, _shorter_blocks, _adapters, _four_bits], need, gpu_gib)]
    more = next((n for n in (2, 4, 8) if n > gpus and need(settings, n).total <= gpu_gib), None)
    if more:
        ways.append(f"share it among GPUs with --gpus {more}")
    return _clause("pretraining", memory, [way for way in ways if way])


def instruction_advice(shape: Shape, new_tokens: int, settings: InstructionSettings, gpu_gib: float) -> str | None:
    """None where instruction tuning fits; else what is needed and what to change, as a clause."""

    def need(changed: InstructionSettings) -> Memory:
        return instruction_memory(shape, new_tokens, changed, gpu_gib)

    memory = need(settings)
    if memory.total <= gpu_gib:
        return None
    way = _changes(settings, [_shorter_examples, _qlora], need, gpu_gib)
    return _clause("instruction", memory, [way] if way else [])


def _clause(stage: str, memory: Memory, ways: list[str]) -> str:
    parts = {name: part for name, part in vars(memory).items() if name != "framework"}
    largest = max(parts, key=lambda name: parts[name])
    need = f"{stage} needs {memory.total:.1f} GiB, {parts[largest]:.1f} of them {largest}"
    return f"{need}: {', or '.join(ways)}" if ways else f"{need}: take a larger card or a smaller base"


def _changes(
    settings: Settings, changes: Sequence[Change[Settings]], need: Callable[[Settings], Memory], gpu_gib: float
) -> str | None:
    """The first single change after which it fits, else as many in turn as it takes; None where all do not help."""
    single = [found for change in changes if (found := change(settings))]
    for words, changed in single:
        if need(changed).total <= gpu_gib:
            return f"set {words}"
    said: list[str] = []
    for change in changes:
        found = change(settings)
        if found:
            said, settings = [*said, found[0]], found[1]
            if need(settings).total <= gpu_gib:
                return f"set {' and '.join(said)}"
    return None


def _eight_bits(settings: PretrainingSettings) -> tuple[str, PretrainingSettings] | None:
    if settings.optimizer == "adamw_8bit":
        return None
    return "pretraining.optimizer to adamw_8bit", settings.model_copy(update={"optimizer": "adamw_8bit"})


def _shorter_blocks(settings: PretrainingSettings) -> tuple[str, PretrainingSettings] | None:
    if settings.block_tokens <= _SHORTEST:
        return None
    # As many tokens in a step as before.
    update = {
        "block_tokens": _SHORTEST,
        "batch_blocks": settings.batch_blocks * max(1, settings.block_tokens // _SHORTEST),
    }
    return f"pretraining.block_tokens to {_SHORTEST}", settings.model_copy(update=update)


def _adapters(settings: PretrainingSettings) -> tuple[str, PretrainingSettings] | None:
    """LoRA in place of weights, new rows in place of whole tables."""
    if settings.groups <= _IN_4_BITS:
        return None

    def small(group: str) -> str:
        return group if group in _IN_4_BITS else _NEW_ROWS.get(group, "lora")

    phases: list[Phase] = []
    for phase in settings.phases:
        groups = list(dict.fromkeys(small(group) for group in phase.train))
        phases.append(phase.model_copy(update={"train": groups}))
    named = ", ".join(sorted({group for phase in phases for group in phase.train}))
    return f"pretraining.phases to train {named} only", settings.model_copy(update={"phases": phases})


def _four_bits(settings: PretrainingSettings) -> tuple[str, PretrainingSettings] | None:
    if settings.quantized_base or settings.merge_back or not settings.groups <= _IN_4_BITS:
        return None
    return "pretraining.quantized_base to true", settings.model_copy(update={"quantized_base": True})


def _shorter_examples(settings: InstructionSettings) -> tuple[str, InstructionSettings] | None:
    if settings.max_tokens <= _SHORTEST:
        return None
    return f"instruction.max_tokens to {_SHORTEST}", settings.model_copy(update={"max_tokens": _SHORTEST})


def _qlora(settings: InstructionSettings) -> tuple[str, InstructionSettings] | None:
    if settings.method == "qlora":
        return None
    return "instruction.method to qlora", settings.model_copy(update={"method": "qlora"})
