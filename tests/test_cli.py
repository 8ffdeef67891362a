"""The command line as a table: arguments, exit status, what is said. Bad input has a file of its own."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from korean_llm import __version__
from korean_llm.artifact import load_manifest
from korean_llm.cli import app, main
from tests.conftest import TEXTS, make_model, make_tokenizer

ROOT = Path(__file__).resolve().parents[1]
VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small base, documents, and a recipe that has run."""
    folder = tmp_path_factory.mktemp("cli")
    tokenizer = make_tokenizer()
    make_model(len(tokenizer)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    rows = [{"id": f"d{n}", "title": f"글 {n}", "text": TEXTS[n]} for n in range(3)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "documents.jsonl").write_text(text, encoding="utf-8")
    (folder / "small.yaml").write_text(
        "name: small\nbase: ./base\nretrieval: {documents: [./documents.jsonl], analyzer: bigram}\n", encoding="utf-8"
    )
    (folder / "lost.yaml").write_text(
        "name: lost\nbase: ./base\nretrieval: {documents: [prose-kr, ./none.jsonl, instructions-ko]}\n",
        encoding="utf-8",
    )
    done = subprocess.run(child("run", "small.yaml", "--device", "cpu"), cwd=folder, env=environment(), check=False)
    assert done.returncode == 0
    return folder


def child(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "korean_llm.cli", *arguments]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command in this process, in that folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(place)

    def one(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["korean-llm", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()  # type: ignore[arg-type]

    return one


def test_the_verbs_are_these() -> None:
    search = ["evaluate-search", "index", "search", "tune-search"]
    known = ["ask", "calibrate", "check", "demo", "feedback", "push", "run", "serve", "show", "stages", "vocabulary"]
    assert sorted(VERBS) == sorted([*known, *search])


HELP = (
    "import sys\nfrom korean_llm.cli import main\n"
    "try:\n    main()\nexcept SystemExit as end:\n"
    "    heavy = {'torch', 'transformers', 'numpy', 'gradio', 'kiwipiepy'} & sys.modules.keys()\n"
    "    print(f'{end.code} {sorted(heavy)}', file=sys.stderr)\n"
)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_quick_has_an_example_and_loads_nothing_heavy(verb: str) -> None:
    arguments = [verb, "--help"] if verb else ["--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", HELP, *arguments]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime
    assert cpu_s < 1, "CPU time: other work on the machine is not the command's"
    assert result.stderr.strip() == "0 []"
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", result.stdout).split())
    example = re.search(
        r"korean-llm ([\w-]+) (?:export )?(?:recipes/[\w-]+\.yaml|runs/quickstart|--tokenizer \w|law )", words
    )
    assert example is not None
    assert example[1] == (verb or "run")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--version",), 0, f"korean-llm {__version__}"),
        (("check", "small.yaml"), 0, "stages: base → retrieval"),
        (("stages",), 0, "evaluation"),
        (("stages", "small.yaml"), 0, "index documents for hybrid search"),
        (("show", "runs/small"), 0, "retrieval.documents: 3"),
        (("run", "small.yaml", "--dry-run"), 0, "nothing changed"),
        (("run", "small.yaml", "--dry-run", "--force"), 0, "--force"),
        (("run", "small.yaml", "--dry-run", "--out", "runs/new"), 0, "has not run"),
        (("search", "runs/small", "도서관은 언제 여나요?"), 0, "[1] 글 1 — d1 0–"),
        (("search", "runs/small", "도서관", "-k", "1"), 0, "도서관은 아홉 시에 문을 열고"),
        (("ask", "runs/small", "도서관은 언제 여나요?"), 0, "[1]"),
        (("run", "small.yaml"), 0, "retrieval: skipped, nothing changed"),
        (("run", "runs/small/recipe.yaml", "--out", "runs/small"), 0, "base: skipped, nothing changed"),
        ((), 2, "[OPTIONS] COMMAND [ARGS]..."),
        (("run",), 2, "Missing argument 'RECIPE'"),
        (("rnu", "small.yaml"), 2, "Did you mean 'run'?"),
        (("run", "small.yaml", "--frmo", "base"), 2, "No such option"),
        (("run", "small.yaml", "--device", "tpu"), 2, "'tpu' is not one of"),
        (
            ("run", "small.yaml", "--device", "cpu", "--attention", "flash_attention_2"),
            2,
            "needs a GPU and the package",
        ),
        (("run", "small.yaml", "--device", "cpu", "--attention", "flex_attention"), 2, "use --attention sdpa"),
        (("run", "small.yaml", "--device", "cpu", "--report-to", "trackio"), 2, "`pip install trackio`"),
        (("run", "small.yaml", "--origin", "ftp"), 2, "'ftp' is not one of"),
        (("run", "small.yaml", "--workers", "-1"), 2, "greater than or equal to 0"),
        (("check", "small.yaml", "--gpu-memory", "0"), 2, "greater than or equal to 1"),
        (("search", "runs/small", "도서관", "-k", "0"), 2, "greater than or equal to 1"),
        (("search", "runs/small", "\udcff\udcb0"), 2, "korean-llm: the question holds half a surrogate pair"),
        (("ask", "runs/small", "질문", "--mode", "magic"), 2, "expected auto, extractive or generative"),
        (("demo", "runs/small", "--port", "70000"), 2, "less than or equal to 65535"),
        (("demo", "runs/none"), 2, "korean-llm: runs/none is not a run of korean-llm; runs/ holds: small"),
        (("stages", "none.yaml"), 2, "none.yaml does not exist; here is: lost.yaml, small.yaml"),
        (("check", "base"), 2, "base is a folder; expected a YAML file"),
        (("check", "lost.yaml"), 2, "no corpus is called 'prose-kr'; did you mean 'prose-ko'?"),
        (("check", "lost.yaml"), 2, "corpus none.jsonl does not exist"),
        (("check", "lost.yaml"), 2, "retrieval.documents: 'instructions-ko' holds instructions, expected documents"),
    ],
)
def test_arguments_and_what_is_said(call, arguments: tuple[str, ...], status: int, words: str) -> None:
    found, out, errors = call(*arguments)
    assert found == status, errors
    assert words in " ".join((out + errors).replace("│", " ").split())
    assert "Traceback" not in errors


def test_a_lost_corpus_is_named_before_anything_starts(call, place: Path) -> None:
    status, _, errors = call("run", "lost.yaml")
    assert status == 2 and "recipe lost: 3 errors" in errors
    assert not (place / "runs" / "lost").exists()


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("check", "small.yaml"), {"recipe", "base", "parameters", "stages", "gpu_memory_gib", "disk_gb"}),
        (("show", "runs/small"), {"stage", "state", "fingerprint", "counts", "metrics", "problems"}),
        (("search", "runs/small", "도서관"), {"rank", "document_id", "start", "end", "text", "score"}),
        (("ask", "runs/small", "도서관은 언제 여나요?"), {"question", "mode", "citations"}),
    ],
)
def test_json_is_all_there_is_on_stdout(call, arguments: tuple[str, ...], keys: set[str]) -> None:
    status, out, _ = call(*arguments, "--json")
    assert status == 0
    value = json.loads(out)
    assert keys <= (value[0] if isinstance(value, list) else value).keys()


def test_show_tells_damage_by_its_exit_status(call, place: Path) -> None:
    target = place / "runs" / "small" / "retrieval" / "segments" / "000001" / "texts.npy"
    whole, times = target.read_bytes(), target.stat()
    target.write_bytes(whole[:-2] + b" \n")
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    status, out, errors = call("show", "runs/small")
    assert status == 2 and "damaged" in out
    assert f"{target.relative_to(place)} is damaged" in errors
    command = re.search(r"`korean-llm ([^`]+)`", errors)
    assert command is not None, "it names the command that rebuilds"
    assert call(*command[1].split())[0] == 0
    assert call("show", "runs/small")[0] == 0
    assert target.read_bytes() == whole


@pytest.mark.parametrize("typed", ["도서관은 언제 여나요?\n".encode(), b"\xff\xb0 " + "도서관".encode()])
def test_a_question_comes_from_standard_input(call, monkeypatch: pytest.MonkeyPatch, typed: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
    status, out, errors = call("search", "runs/small", "-", "--json")
    assert status == 0, errors
    assert json.loads(out)[0]["document_id"] == "d1"


@pytest.mark.parametrize("encoding", ["ascii", "cp949"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_terminal_that_cannot_show_everything(place: Path, encoding: str, form: tuple[str, ...]) -> None:
    (place / "korean.yaml").write_text("name: small\nbase: ./모델—뷁\n", encoding="utf-8")
    command = child("check", "korean.yaml", *form)
    terminal = environment(PYTHONIOENCODING=encoding)
    result = subprocess.run(command, cwd=place, env=terminal, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    shown = "./모델—뷁".encode(encoding, errors="replace")
    assert shown in result.stdout


def test_a_reader_that_has_seen_enough(place: Path) -> None:
    command = child("check", "small.yaml")
    with subprocess.Popen(command, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert one.stdout is not None and one.stderr is not None
        one.stdout.close()
        assert one.stderr.read() == b""


def test_ctrl_c_says_how_to_go_on(place: Path) -> None:
    arguments = ("run", "small.yaml", "--force", "--device", "cpu", "--out", "runs/stopped")
    # A job in the background of a shell script ignores Ctrl-C, and so would its children.
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(
        child(*arguments), cwd=place, env=environment(), stderr=subprocess.PIPE, text=True, **listens
    )
    while process.poll() is None and not (place / "runs" / "stopped" / "retrieval.partial").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait() == 130, errors
    assert errors.strip().splitlines()[-1] == ("korean-llm: interrupted; the same command goes on where it stopped.")
    assert load_manifest(place / "runs" / "stopped" / "base") is not None
