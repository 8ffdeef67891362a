"""The verb of the Hugging Face Hub: push."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from korean_llm import console
from korean_llm.cli_options import JsonOption, print_json
from korean_llm.errors import KoreanLLMError


def add_verbs(app: typer.Typer) -> None:
    """Give the command line its verb of the Hub."""
    app.command()(push)


def push(
    what: Annotated[Path, typer.Argument(metavar="RUN|ARTIFACT", help="Run folder, or one artifact's folder.")],
    to: Annotated[str | None, typer.Option("--to", metavar="ORG/NAME", help="Repository of the Hub.")] = None,
    to_folder: Annotated[Path | None, typer.Option("--to-folder", metavar="DIR", help="A new folder instead.")] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            help="export, online, preference, instruction, pretraining or vocabulary; default: the first there.",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="ORG/NAME", help="Where an adapter's base is published.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="NAME", help="The Hub's name of a licence, such as apache-2.0.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Open to everyone; private otherwise.")] = False,
    branch: Annotated[str | None, typer.Option("--branch", help="Branch to push to; main otherwise.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files; publish nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish a run's model or adapter to the Hugging Face Hub, or to a folder, with a card in Korean and English.

    Examples: `korean-llm push runs/quickstart --to org/name`,
    `korean-llm push runs/quickstart --stage instruction --base org/base --to org/adapter`
    """
    from korean_llm import hub

    if (to is None) == (to_folder is None):
        raise KoreanLLMError("expected one of --to ORG/NAME and --to-folder DIR; give one.")
    place = to if to is not None else to_folder
    assert place is not None  # checked above
    done = hub.push(
        what, place, stage=stage, base=base, licence=licence, private=not public, branch=branch, dry_run=dry_run
    )
    if as_json:
        print_json(asdict(done))
        return
    console.print_table("", ["file", "bytes"], [(name, f"{size:,}") for name, size in done.files.items()])
    where = done.url or done.place
    console.note(f"{done.stage}: {'would go' if dry_run else 'published'} to {where}")
