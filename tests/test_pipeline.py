"""The pipeline on real small stages: plan, skip, select, rebuild, refuse; and nothing lost on a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from korean_llm import artifact
from korean_llm.errors import KoreanLLMError
from korean_llm.inspection import survey
from korean_llm.machine import Machine
from korean_llm.pipeline import STAGE_NAMES, STAGES, Selection, find_run, open_run
from korean_llm.recipe import SECTIONS
from korean_llm.run_folder import RECIPE_COPY, disk_errors
from tests.conftest import TEXTS, make_model, make_tokenizer

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["base", "corpus", "vocabulary", "retrieval"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small base and a corpus file."""
    folder = tmp_path_factory.mktemp("pipeline")
    tokenizer = make_tokenizer()
    make_model(len(tokenizer)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    write_rows(folder / "good.jsonl", 40)
    return folder


def write_rows(path: Path, count: int) -> None:
    rows = [{"id": f"{n}", "title": "", "text": f"{TEXTS[n % 3]} {n}번째로 적은 글이다. " * 3} for n in range(count)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def recipe_text(place: Path, name: str = "small") -> str:
    return (
        f"# A recipe of the tests.\nname: {name}\nbase: {place}/base\n"
        f"corpus: {{sources: {{{place}/good.jsonl: 1}}, clean: {{min_chars: 20}},"
        " near_duplicates: 1.0, holdout: 0.3}\n"
        "vocabulary: {new_tokens: 20}\n"
        f"retrieval: {{documents: [{place}/good.jsonl], analyzer: bigram}}\n"
    )


def execute(text: str, out: Path, machine: Machine, **selection: object) -> list[tuple[str, str, str]]:
    """Run a recipe; (stage, action, reason) of every step."""
    return steps(run_of(text, out, machine).execute(Selection(**selection)))  # type: ignore[arg-type]


def plan(text: str, out: Path, machine: Machine, **selection: object) -> list[tuple[str, str, str]]:
    return steps(run_of(text, out, machine).plan(Selection(**selection)))  # type: ignore[arg-type]


def run_of(text: str, out: Path, machine: Machine):
    path = out.with_name(f"{out.name}.yaml")
    path.write_text(text, encoding="utf-8")
    return open_run(path, out, machine)


def steps(done) -> list[tuple[str, str, str]]:
    return [(step.stage.name, step.action, step.reason) for step in done]


def actions(done: list[tuple[str, str, str]]) -> dict[str, str]:
    return {name: action for name, action, _ in done}


@pytest.fixture(scope="module")
def finished(place: Path, machine: Machine) -> Path:
    """A finished run; do not change it."""
    execute(recipe_text(place), place / "finished", machine)
    return place / "finished"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run")


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("*/**/*")}


def fingerprints(folder: Path) -> dict[str, str]:
    manifests = {name: artifact.load_manifest(folder / name) for name in NAMES}
    return {name: manifest.fingerprint for name, manifest in manifests.items() if manifest is not None}


def test_stages_and_sections_are_the_same() -> None:
    assert ("base", *SECTIONS) == STAGE_NAMES
    for stage in STAGES:
        for names in stage.reads.values():
            assert set(names) <= set(STAGE_NAMES[: STAGE_NAMES.index(stage.name)]), "a stage reads earlier ones only"


def test_a_fresh_plan_runs_everything_and_writes_nothing(place: Path, tmp_path: Path, machine: Machine) -> None:
    text = recipe_text(place)
    assert plan(text, tmp_path / "run", machine) == [
        ("base", "run", "has not run"),
        ("corpus", "run", "has not run"),
        ("vocabulary", "run", "base runs before it"),
        ("retrieval", "run", "has not run"),
    ]
    assert not (tmp_path / "run").exists()


def test_the_run_keeps_its_recipe_word_for_word(place: Path, finished: Path) -> None:
    assert (finished / RECIPE_COPY).read_text(encoding="utf-8") == recipe_text(place)
    assert sorted(path.name for path in finished.iterdir()) == sorted([".lock", RECIPE_COPY, *NAMES])


def test_manifests_name_their_inputs(finished: Path) -> None:
    manifest, known = artifact.load_manifest(finished / "vocabulary"), fingerprints(finished)
    assert manifest is not None
    assert manifest.inputs == {"base": known["base"], "corpus": known["corpus"]}
    assert manifest.seed == 17 and manifest.seconds >= 0 and manifest.device == "cpu, 1 workers"
    assert {"python", "torch", "transformers", "korean_llm"} <= manifest.versions.keys()


def test_a_second_run_skips_everything(place: Path, run: Path, machine: Machine) -> None:
    before = times(run)
    done = execute(recipe_text(place), run, machine)
    assert done == [(name, "skip", "nothing changed") for name in NAMES]
    assert times(run) == before
    assert plan(recipe_text(place), run, machine) == done


@pytest.mark.parametrize(
    ("old", "new", "ran", "reason"),
    [
        ("new_tokens: 20", "new_tokens: 21", ["vocabulary"], "settings changed (new_tokens)"),
        ("min_chars: 20", "min_chars: 21", ["corpus", "vocabulary"], "settings changed (clean)"),
        ("analyzer: bigram", "analyzer: bigram, passage_chars: 60", ["retrieval"], "settings changed (passage_chars)"),
        ("name: small", "name: small\nseed: 3", NAMES, "seed changed (17 → 3)"),
        ("# A recipe", "# Another word about the recipe", [], ""),
        ("new_tokens: 20", "new_tokens: 20, min_count: 2", [], ""),  # the default, written out
    ],
)
def test_a_changed_setting_runs_its_stage_and_what_follows(
    place: Path, run: Path, machine: Machine, old: str, new: str, ran: list[str], reason: str
) -> None:
    text = recipe_text(place).replace(old, new)
    expected = {name: "run" if name in ran else "skip" for name in NAMES}
    planned, done = plan(text, run, machine), execute(text, run, machine)
    assert actions(planned) == actions(done) == expected
    if ran:
        assert (ran[0], "run", reason) in planned
        assert (ran[0], "run", reason) in done
    assert (run / RECIPE_COPY).read_text(encoding="utf-8") == text
    assert set(actions(execute(text, run, machine)).values()) == {"skip"}


def test_how_the_machine_works_changes_nothing(place: Path, run: Path) -> None:
    assert set(actions(plan(recipe_text(place), run, Machine("cpu", 2, "wheel"))).values()) == {"skip"}


def test_a_section_added_or_taken_out(place: Path, run: Path, machine: Machine) -> None:
    text = recipe_text(place)
    shorter = text[: text.index("vocabulary:")] + text[text.index("retrieval:") :]
    assert actions(execute(shorter, run, machine)) == dict.fromkeys(["base", "corpus", "retrieval"], "skip")
    assert actions(execute(text, run, machine)) == dict.fromkeys(NAMES, "skip")


def test_changed_data_runs_what_reads_it(place: Path, run: Path, tmp_path: Path, machine: Machine) -> None:
    own = tmp_path / "good.jsonl"
    shutil.copy(place / "good.jsonl", own)
    text = recipe_text(place).replace(f"{place}/good.jsonl", str(own))
    execute(text, run, machine)
    write_rows(own, 41)
    assert actions(execute(text, run, machine)) == {
        "base": "skip",
        "corpus": "run",
        "vocabulary": "run",
        "retrieval": "run",
    }


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ({}, NAMES),
        ({"start": "corpus"}, ["corpus", "vocabulary", "retrieval"]),
        ({"until": "corpus"}, ["base", "corpus"]),
        ({"start": "corpus", "until": "vocabulary"}, ["corpus", "vocabulary"]),
        ({"start": "corpus", "until": "corpus"}, ["corpus"]),
        ({"only": "vocabulary"}, ["vocabulary"]),
    ],
)
def test_selections(place: Path, run: Path, machine: Machine, selection: dict[str, str], names: list[str]) -> None:
    text = recipe_text(place)
    assert [step[0] for step in plan(text, run, machine, **selection)] == names
    before = times(run)
    forced = execute(text, run, machine, force=True, **selection)
    assert forced == [(name, "run", "--force") for name in names]
    after = times(run)
    rebuilt = {path.split("/")[0] for path in after if after[path] != before.get(path)}
    assert rebuilt == set(names)
    assert set(actions(execute(text, run, machine)).values()) == {"skip"}, "the same work gives the same artifacts"


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (
            {"only": "corpse"},
            "--only corpse: no such stage in this recipe; it has: base, corpus, vocabulary, retrieval",
        ),
        ({"start": "export"}, "--from export: no such stage"),
        ({"until": "x"}, "--until x: no such stage"),
        ({"only": "base", "start": "base"}, "--only cannot be combined"),
        ({"only": "base", "until": "base"}, "--only cannot be combined"),
        ({"start": "vocabulary", "until": "corpus"}, "nothing is left to run"),
    ],
)
def test_selections_that_cannot_be(
    place: Path, run: Path, machine: Machine, selection: dict[str, str], words: str
) -> None:
    for act in (plan, execute):
        with pytest.raises(KoreanLLMError, match=words):
            act(recipe_text(place), run, machine, **selection)


def test_a_stage_without_its_inputs_names_them(place: Path, tmp_path: Path, machine: Machine) -> None:
    for selection in ({"only": "vocabulary"}, {"start": "vocabulary"}):
        with pytest.raises(KoreanLLMError, match=r"'vocabulary' reads the artifact 'base'.*--from base"):
            execute(recipe_text(place), tmp_path / "run", machine, **selection)
    execute(recipe_text(place), tmp_path / "run", machine, until="base")
    with pytest.raises(KoreanLLMError, match=r"'corpus', which is not complete.*--from corpus"):
        execute(recipe_text(place), tmp_path / "run", machine, only="vocabulary")


def test_damage_is_named_and_mended(place: Path, run: Path, finished: Path, machine: Machine) -> None:
    (run / "base" / "model" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"base/model/config\.json is damaged.*--from base"):
        execute(recipe_text(place), run, machine, only="vocabulary", force=True)
    done = execute(recipe_text(place), run, machine)
    assert actions(done) == {"base": "run", "corpus": "skip", "vocabulary": "skip", "retrieval": "skip"}
    assert "base/model/config.json is damaged" in done[0][2]
    assert fingerprints(run) == fingerprints(finished)
    assert all(finding.state == "verified" for finding in survey(run))


def test_a_damaged_manifest_is_named_and_its_command_mends_it(
    place: Path, run: Path, finished: Path, machine: Machine
) -> None:
    (run / "corpus" / "manifest.json").write_text("{", encoding="utf-8")
    for act in (plan, execute):
        with pytest.raises(KoreanLLMError, match=r"corpus/manifest\.json is damaged.*--only corpus --force"):
            act(recipe_text(place), run, machine)
    execute(recipe_text(place), run, machine, only="corpus", force=True)
    assert set(actions(execute(recipe_text(place), run, machine)).values()) == {"skip"}
    assert fingerprints(run) == fingerprints(finished)


@pytest.mark.parametrize("stage", NAMES)
def test_an_interrupted_rename_costs_nothing(place: Path, run: Path, machine: Machine, stage: str) -> None:
    (run / stage).rename(run / f"{stage}.partial")
    only = (
        "vocabulary" if stage == "base" else "retrieval"
    )  # another stage is asked for: the folder is put right anyway
    execute(recipe_text(place), run, machine, only=only)
    assert execute(recipe_text(place), run, machine) == [(name, "skip", "nothing changed") for name in NAMES]


def test_an_interrupted_stage_starts_again(place: Path, run: Path, finished: Path, machine: Machine) -> None:
    shutil.rmtree(run / "vocabulary")
    half = run / "vocabulary.partial"
    (half / "model").mkdir(parents=True)
    (half / "model" / "model.safetensors").write_bytes(b"half")
    assert ("vocabulary", "run", "was interrupted") in plan(recipe_text(place), run, machine)
    assert ("vocabulary", "run", "was interrupted") in execute(recipe_text(place), run, machine)
    assert not half.exists() and fingerprints(run) == fingerprints(finished)


def test_states_of_a_run(place: Path, run: Path, machine: Machine) -> None:
    def states() -> dict[str, str]:
        return {finding.stage: finding.state for finding in survey(run)}

    assert states() == dict.fromkeys(NAMES, "verified")
    execute(recipe_text(place).replace("min_chars: 20", "min_chars: 21"), run, machine, only="corpus")
    assert states()["vocabulary"] == "stale (corpus changed)"
    (run / "base" / "model" / "config.json").unlink()
    shutil.rmtree(run / "retrieval")
    assert states()["base"] == "damaged" and states()["retrieval"] == "not run"
    (run / "retrieval.partial").mkdir()
    (run / "vocabulary" / "manifest.json").write_text("", encoding="utf-8")
    assert states()["retrieval"] == "interrupted" and states()["vocabulary"] == "damaged"
    problems = [line for finding in survey(run) for line in finding.problems]
    assert len(problems) == 2 and "config.json is missing" in problems[0] and "manifest.json is damaged" in problems[1]


# ---- whose folder it is


def test_a_folder_of_another_recipe(place: Path, run: Path, machine: Machine) -> None:
    before = (run / RECIPE_COPY).read_bytes()
    with pytest.raises(KoreanLLMError, match=r"holds a run of the recipe 'small', not of 'other'.*--out"):
        execute(recipe_text(place, "other"), run, machine)
    assert (run / RECIPE_COPY).read_bytes() == before


def test_the_name_alone_decides_whose_folder_it_is(place: Path, run: Path, machine: Machine) -> None:
    """A recipe that an older version wrote may hold keys this one does not know."""
    (run / RECIPE_COPY).write_text("name: small\nold_section: {}\n", encoding="utf-8")
    assert set(actions(execute(recipe_text(place), run, machine)).values()) == {"skip"}
    (run / RECIPE_COPY).write_text("", encoding="utf-8")
    with pytest.raises(KoreanLLMError, match=r"recipe\.yaml is damaged"):
        execute(recipe_text(place), run, machine)


def test_a_folder_that_is_no_run(place: Path, tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for name in ("photos", "file"):
        with pytest.raises(KoreanLLMError, match=f"{name} exists and is not a run of korean-llm"):
            execute(recipe_text(place), tmp_path / name, machine)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["one.jpg"]


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", "recipe.yaml.new"]])
def test_a_folder_that_a_killed_run_had_just_made(
    place: Path, tmp_path: Path, machine: Machine, left: list[str]
) -> None:
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text("", encoding="utf-8")
    assert actions(execute(recipe_text(place), tmp_path / "run", machine, only="base")) == {"base": "run"}


def test_finding_a_run_names_those_there_are(
    run: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KoreanLLMError, match="there is no run in runs/ yet; make one with"):
        find_run(Path("runs/none"))
    (tmp_path / "runs").mkdir()
    shutil.copytree(run, tmp_path / "runs" / "first")
    with pytest.raises(KoreanLLMError, match="runs/ holds: first"):
        find_run(Path("runs/none"))
    assert find_run(Path("runs/first")).recipe.name == "small"


HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_run_at_a_time(place: Path, run: Path, machine: Machine) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run / ".lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    text = recipe_text(place)
    with pytest.raises(KoreanLLMError, match="another korean-llm run is working in"):
        execute(text + "# changed\n", run, machine)
    assert (run / RECIPE_COPY).read_text(encoding="utf-8") == text, "the running one's recipe is left alone"
    assert actions(plan(text, run, machine)) == dict.fromkeys(NAMES, "skip"), "looking is free"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert actions(execute(text, run, machine)) == dict.fromkeys(NAMES, "skip"), "a killed run holds nothing"


# ---- a disk that is full, a folder that cannot be written: a process of its own, through the command line

CHILD = """
import json, os, resource, sys
sys.path.insert(0, sys.argv[1])
from korean_llm.cli import main
if sys.argv[3:]:  # another user, who may not even read where Python stands: everything is imported before
    import korean_llm.pipeline, korean_llm.preflight
    os.setegid(int(sys.argv[3]))
    os.seteuid(int(sys.argv[3]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit, arguments in json.loads(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if limit is None else limit, hard))
    sys.argv = ["korean-llm", *arguments]
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code
    print("status", status, file=sys.stderr, flush=True)
"""


def commands(calls: list[tuple[int | None, list[str]]], user: int | None = None) -> list[tuple[int, str]]:
    """Run commands one after the other in one process, each under a limit of file size; (status, stderr) of each."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    child = [sys.executable, "-c", CHILD, str(ROOT), json.dumps(calls), *([str(user)] if user else [])]
    result = subprocess.run(child, env=environment, capture_output=True, text=True, check=True)
    found: list[tuple[int, str]] = []
    lines: list[str] = []
    for line in result.stderr.splitlines():
        if line.startswith("status "):
            found.append((int(line.split()[1]), "\n".join(lines)))
            lines = []
        else:
            lines.append(line)
    assert len(found) == len(calls)
    return found


def refused(result: tuple[int, str], *words: str) -> None:
    """Exit status 2 and one sentence at the end, no traceback."""
    status, errors = result
    assert status == 2, errors
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("korean-llm: ")
    assert all(word in last for word in words), last


def test_a_full_disk_at_any_stage(place: Path, tmp_path: Path, finished: Path) -> None:
    """A limit on the size of files stands for the disk: the smaller, the earlier the stage that hits it."""
    (tmp_path / "small.yaml").write_text(recipe_text(place), encoding="utf-8")
    arguments = ["run", str(tmp_path / "small.yaml"), "--device", "cpu", "--out", str(tmp_path / "run")]
    sizes = {name: max(path.stat().st_size for path in (finished / name).rglob("*")) for name in NAMES}
    calls: list[tuple[int | None, list[str]]] = [(10, arguments), (700, arguments)]
    for name in NAMES[1:]:
        calls.append((None, [*arguments, "--until", NAMES[NAMES.index(name) - 1]]))
        calls.append((sizes[name] * 2 // 3, [*arguments, "--only", name]))
    calls.append((None, arguments))
    results = commands(calls)
    refused(results[0], "the run folder", "File too large", "--out")
    refused(results[1], "stage 'base'", "--out")
    for number, name in enumerate(NAMES[1:]):
        assert results[2 + 2 * number][0] == 0, results[2 + 2 * number][1]
        refused(results[3 + 2 * number], f"stage '{name}' could not write", "finished stages are kept")
    assert results[-1][0] == 0, results[-1][1]
    skipped = [line for line in results[-1][1].splitlines() if line.endswith("skipped, nothing changed")]
    assert [line.split(":")[0] for line in skipped] == NAMES[:-1], "what was finished before is kept"
    assert fingerprints(tmp_path / "run") == fingerprints(finished)


def test_a_folder_that_may_not_be_written(place: Path) -> None:
    """As another user where the tests run as root, whom no permission stops."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(place / "base", folder / "base")
        shutil.copy(place / "good.jsonl", folder / "good.jsonl")
        (folder / "small.yaml").write_text(recipe_text(folder), encoding="utf-8")
        (folder / "closed").mkdir(mode=0o555)
        (folder / "hidden").mkdir(mode=0o000)
        (folder / "private.yaml").write_text("name: x", encoding="utf-8")
        (folder / "private.yaml").chmod(0o000)
        nobody = 65534 if os.getuid() == 0 else None
        arguments = ["run", str(folder / "small.yaml"), "--out"]
        calls: list[tuple[int | None, list[str]]] = [
            (None, [*arguments, str(folder / "closed" / "run")]),
            (None, [*arguments, str(folder / "hidden" / "run")]),
            (None, ["check", str(folder / "private.yaml")]),
        ]
        closed, hidden, private = commands(calls, nobody)
        refused(closed, f"the run folder {folder}/closed/run cannot be written (Permission denied)", "--out")
        refused(hidden, f"the run folder {folder}/hidden/run cannot be written (Permission denied)", "--out")
        refused(private, "private.yaml cannot be read: Permission denied")
        (folder / "hidden").chmod(0o700)


def test_other_errors_are_not_taken_for_a_full_disk() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), disk_errors("corpus", Path("run")):
        raise RuntimeError("shapes differ")
    with pytest.raises(KoreanLLMError, match="known"), disk_errors("corpus", Path("run")):
        raise KoreanLLMError("known")
    with (
        pytest.raises(KoreanLLMError, match=r"'corpus' could not write to run: .* two lines; free"),
        disk_errors("corpus", Path("run")),
    ):
        raise OSError(28, "two\n lines")


@pytest.mark.parametrize(("method", "model"), [("lora", "base"), ("full", "instruction")])
def test_tuning_stands_on_the_model_or_the_adapter_there_is(
    place: Path, tmp_path: Path, method: str, model: str
) -> None:
    text = (
        f"name: tuned\nbase: {place}/base\ninstruction: {{method: {method}, data: [instructions-ko]}}\n"
        "reward: {data: [preferences-ko]}\nrejection_sampling: {data: [preferences-ko]}\n"
        "preference: {data: [preferences-ko]}\nonline: {data: [preferences-ko]}\nexport: {}\n"
    )
    run = run_of(text, tmp_path / "run", Machine())
    found = {stage.name: run.sources(stage) for stage in run.stages}
    adapter = {"adapter": "instruction"} if method == "lora" else {}
    assert found["instruction"] == {"model": "base"}
    assert found["reward"] == {"model": model}
    assert found["rejection_sampling"] == {"model": model, "reward": "reward", **adapter}
    assert found["preference"] == {"model": model, **adapter}
    assert found["online"] == {"model": model, "adapter": "preference", "reward": "reward"}
    assert found["export"] == {"model": model, "adapter": "online"}
