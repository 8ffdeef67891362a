"""What a phase is about to train, and what it really moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.trainable import Table, group_of, trains, whole

_ROWS = "rows"


@dataclass(frozen=True)
class Part:
    """Parameters of one kind that a phase trains: body, lora, or rows of a table."""

    kind: str
    tensors: int
    parameters: int
    rows: int
    moved_tensors: int = 0
    moved_rows: int = 0
    largest_move: float = 0.0


def trained_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of everything that is to train, whole and on the CPU: what `movement` compares with."""
    return {name: whole(p).clone() for name, p in model.named_parameters() if p.requires_grad}


def parts(start: Mapping[str, torch.Tensor], table: Table) -> list[Part]:
    """What is to train, by kind."""
    by_kind = _by_kind(start, table)
    return [
        Part(kind, len(names), sum(start[name].numel() for name in names), _num_rows(kind, names, start))
        for kind, names in by_kind.items()
    ]


def _by_kind(names: Iterable[str], table: Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(group_of(name, table), []).append(name)
    return found


def _num_rows(kind: str, names: list[str], tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(len(tensors[name]) for name in names) if kind.endswith(_ROWS) else 0


def movement(
    model: nn.Module, start: Mapping[str, torch.Tensor], groups: list[str], table: Table, phase: str
) -> list[Part]:
    """What moved since `start`, by kind. Raises KoreanLLMError where a named group did not move at all."""
    now = {name: whole(p) for name, p in model.named_parameters() if name in start}
    moves = {name: (now[name].float() - was.float()).abs() for name, was in start.items()}
    for group in groups:
        if not any(trains(name, [group], table) and bool(move.any()) for name, move in moves.items()):
            raise KoreanLLMError(
                f"{phase} trains {group!r}, but nothing of it moved; look at its learning rate and at its tokens."
            )
    return [_moved(part, [moves[n] for n in moves if group_of(n, table) == part.kind]) for part in parts(start, table)]


def _moved(part: Part, moves: list[torch.Tensor]) -> Part:
    rows = sum(int((move.amax(1) > 0).sum()) for move in moves) if part.rows else 0
    return Part(
        part.kind,
        part.tensors,
        part.parameters,
        part.rows,
        sum(bool(move.any()) for move in moves),
        rows,
        max(move.max().item() for move in moves),
    )


def tell_start(phase: str, found: list[Part]) -> None:
    """The table at a phase's start."""
    rows = [(part.kind, f"{part.tensors:,}", f"{part.parameters:,}", f"{part.rows:,}" or "") for part in found]
    console.print_table(f"{phase} trains", ["part", "tensors", "parameters", "rows"], rows)


def tell_end(phase: str, found: list[Part]) -> None:
    """The table at a phase's end."""
    rows = [
        (
            part.kind,
            f"{part.moved_tensors:,} of {part.tensors:,}",
            f"{part.moved_rows:,} of {part.rows:,}" if part.rows else "",
            f"{part.largest_move:.2e}",
        )
        for part in found
    ]
    console.print_table(f"{phase} moved", ["part", "tensors", "rows", "largest move"], rows)


def as_rows(found: list[Part]) -> list[dict[str, Any]]:
    """Parts as JSON values."""
    return [asdict(part) for part in found]
