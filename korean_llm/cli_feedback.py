"""The verbs of feedback: show, export, forget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from korean_llm import console
from korean_llm.cli_options import JsonOption, print_json
from korean_llm.errors import KoreanLLMError

if TYPE_CHECKING:
    from korean_llm.answering.feedback import Feedback

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, for instance runs/quickstart.")]

feedback = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What readers made of a run's answers: count it, make corpora of it, delete a session.\n\n"
    "Example: `korean-llm feedback export runs/quickstart --out corpora/feedback`",
)


def add_verbs(app: typer.Typer) -> None:
    """Give the command line its feedback verbs."""
    app.add_typer(feedback, name="feedback")


@feedback.command()
def show(folder: RunFolder, as_json: JsonOption = False) -> None:
    """Count a run's answers, sessions, votes, edits, second tries, copies and opened citations.

    Example: `korean-llm feedback show runs/quickstart`
    """
    counts = _open(folder).counts()
    if as_json:
        print_json(counts)
    else:
        console.print_table("", ["feedback", "answers"], counts.items())


@feedback.command()
def export(
    folder: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the corpora; new or empty.")],
    as_json: JsonOption = False,
) -> None:
    """Write corpora of pairs, labels and examples that the preference and instruction stages read.

    Personal data is masked. Name them in a recipe: `preference: {data: [./DIR/preferences]}`.

    Example: `korean-llm feedback export runs/quickstart --out corpora/feedback`
    """
    from korean_llm.answering.feedback.export import export as write
    from korean_llm.answering.feedback.rows import REASONS

    report = write(_open(folder), out)
    if as_json:
        print_json(report)
        return
    console.print_table(str(out), ["corpus", "rows"], report["rows"].items())
    for reason, count in sorted(report["dropped"].items()):
        console.note(f"left out: {count} {REASONS[reason]}")
    console.note(f"masked: {sum(report['masked'].values())} pieces of personal data")


@feedback.command()
def forget(
    folder: RunFolder,
    session: Annotated[str, typer.Option("--session", metavar="ID", help="Session whose answers are deleted.")],
    as_json: JsonOption = False,
) -> None:
    """Delete all that a session left: its answers, votes and edits. Corpora exported before are not touched.

    Example: `korean-llm feedback forget runs/quickstart --session 5f2a`
    """
    count = _open(folder).forget(session)
    if as_json:
        print_json({"answers": count})
    else:
        console.note(f"{folder}: {count} answers of the session {session!r} are deleted")


def _open(folder: Path) -> Feedback:
    from korean_llm.answering.feedback import Feedback, feedback_path
    from korean_llm.pipeline import find_run

    find_run(folder)
    path = feedback_path(folder)
    if not path.exists():
        raise KoreanLLMError(f"{folder} holds no feedback yet; collect some with `korean-llm demo {folder}`.")
    return Feedback(path)
