"""Look at a finished run: verify every artifact and print what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from korean_llm import artifact, console
from korean_llm.errors import KoreanLLMError
from korean_llm.pipeline import find_run


@dataclass(frozen=True)
class Finding:
    """One stage of a run as it stands on disk."""

    stage: str
    state: str
    fingerprint: str = ""
    bytes: int = 0
    seconds: float = 0.0
    counts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def survey(folder: Path) -> list[Finding]:
    """Every stage of the run in order, with every file hashed. Raises KoreanLLMError where there is no run."""
    run = find_run(folder)
    findings: list[Finding] = []
    known: dict[str, str] = {}
    for stage in console.progress(run.stages, "verifying"):
        current = {role: known.get(name, "") for role, name in run.sources(stage).items()}
        findings.append(_finding(run.folder / stage.name, current))
        known[stage.name] = findings[-1].fingerprint
    return findings


def _finding(folder: Path, current: dict[str, str]) -> Finding:
    """Verify one artifact; current: role → fingerprint of what it read, as it stands now."""
    try:
        manifest = artifact.load_manifest(folder)
    except KoreanLLMError as error:
        return Finding(folder.name, "damaged", problems=[str(error)])
    if manifest is None:
        interrupted = artifact.partial_folder(folder).exists()
        return Finding(folder.name, "interrupted" if interrupted else "not run")
    found = artifact.problems(folder, manifest)
    stale = [role for role, value in manifest.inputs.items() if current.get(role, "") not in ("", value)]
    return Finding(
        stage=folder.name,
        state="damaged" if found else f"stale ({', '.join(stale)} changed)" if stale else "verified",
        fingerprint=manifest.fingerprint,
        bytes=sum(file.bytes for file in manifest.files),
        seconds=manifest.seconds,
        counts=manifest.counts,
        metrics=manifest.metrics,
        problems=found,
    )


def print_run(folder: Path, found: list[Finding]) -> None:
    """Print the run as a table, then each stage's figures."""
    rows = [
        (item.stage, item.state, f"{item.bytes / 1e6:,.1f} MB", f"{item.seconds:,.0f} s", item.fingerprint[:12])
        for item in found
    ]
    console.print_table(str(folder), ["stage", "state", "size", "time", "fingerprint"], rows)
    for item in found:
        for name, value in {**item.counts, **item.metrics}.items():
            console.stdout.print(f"{item.stage}.{name}: {_short(value)}", markup=False)


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 160 else text[:157] + "…"
