"""Pushing: one commit of exactly the right files, a card that says where its figures are from, no secret, no half."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoModelForCausalLM

from korean_llm.errors import KoreanLLMError
from korean_llm.hub import load_adapter, push
from korean_llm.hub.figures import figures, limits
from korean_llm.hub.lineage import trace
from korean_llm.machine import Machine
from korean_llm.modeling.load import load_model
from tests.export.tiny import logits_of
from tests.hub.stand_in import TOKEN, StandIn

ROOT = Path(__file__).resolve().parents[2]
CPU = Machine("cpu", 1)
TEXT = "도서관은 아홉 시에 문을 엽니다."


@pytest.fixture
def pushed(run: Path, hub: StandIn) -> Any:
    """Base and adapter of the run, published."""
    push(run, "org/base", stage="base")
    return push(run, "org/adapter", stage="instruction", base="org/base", licence="apache-2.0")


def test_what_is_pushed_loads_again_and_says_the_same_to_the_bit(run: Path, hub: StandIn, pushed: Any) -> None:
    adapted = load_adapter("org/adapter", machine=CPU)
    local = PeftModel.from_pretrained(load_model(run / "base" / "model", CPU), str(run / "instruction" / "adapter"))
    found, wanted = (logits_of(model, adapted.chat.tokenizer, TEXT) for model in (adapted.model, local))
    assert torch.equal(found, wanted)
    assert adapted.revision == pushed.revision == hub.repos["org/adapter"].branches["main"]
    assert adapted.base.name == hub.repos["org/base"].branches["main"]
    assert adapted.chat.render([{"role": "user", "content": "네?"}])


def test_one_private_commit_of_exactly_these_files(run: Path, hub: StandIn, pushed: Any) -> None:
    repo = hub.repos["org/adapter"]
    files = repo.tree("main")[1]  # type: ignore[index]
    assert repo.private and len(repo.commits) == 2  # the first is the Hub's own
    manifests = [f"manifests/{stage}.json" for stage in ("base", "evaluation", "instruction")]
    own = ["README.md", "adapter_config.json", "adapter_model.safetensors", "base.json", "recipe.yaml", "template.json"]
    tokenizer = ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(files) == sorted([".gitattributes", *own, *tokenizer, *manifests])
    assert {name: len(content) for name, content in files.items() if name != ".gitattributes"} == pushed.files
    config, base = json.loads(files["adapter_config.json"]), json.loads(files["base.json"])
    commit = hub.repos["org/base"].branches["main"]
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/base", commit)
    assert (base["hub"], base["revision"]) == ("org/base", commit)
    assert files["recipe.yaml"] == (run / "recipe.yaml").read_bytes()


def test_the_export_opens_with_plain_transformers_and_has_its_gguf(run: Path, hub: StandIn) -> None:
    done = push(run, "org/whole", private=False)
    assert done.stage == "export" and not hub.repos["org/whole"].private
    assert {"model.safetensors", "model-q8_0.gguf", "tokenizer.json"} <= done.files.keys()
    AutoModelForCausalLM.from_pretrained("org/whole")
    card = hub.repos["org/whole"].tree("main")[1]["README.md"].decode()  # type: ignore[index]
    assert "llama-server --hf-repo org/whole --hf-file model-q8_0.gguf" in card and "export " in card


def test_a_second_push_sends_nothing_twice_and_takes_away_what_is_no_longer_made(run: Path, hub: StandIn) -> None:
    push(run, "org/whole")
    sent = hub.counted("PUT lfs/")
    assert push(run, "org/whole").revision == hub.repos["org/whole"].branches["main"]
    assert hub.counted("PUT lfs/") == sent > 0 and len(hub.repos["org/whole"].commits) == 2
    push(run, "org/base", stage="base")
    push(run, "org/whole", stage="instruction", base="org/base")
    names = hub.repos["org/whole"].tree("main")[1].keys()  # type: ignore[index]
    assert "model.safetensors" not in names and ".gitattributes" in names and "adapter_model.safetensors" in names


def test_a_branch_of_its_own_leaves_main_alone(run: Path, hub: StandIn) -> None:
    hub.add("org/whole", {"notes.md": b"mine"}, private=True)
    before = hub.repos["org/whole"].branches["main"]
    push(run, "org/whole", branch="trial")
    repo = hub.repos["org/whole"]
    assert repo.branches["main"] == before != repo.branches["trial"]
    assert repo.tree("trial")[1]["notes.md"] == b"mine"  # type: ignore[index]


def test_a_dropped_upload_is_sent_again(run: Path, hub: StandIn) -> None:
    hub.drop_uploads = 1
    done = push(run, "org/whole")
    assert hub.repos["org/whole"].branches["main"] == done.revision


def test_the_card_names_data_licences_figures_and_limits(run: Path, hub: StandIn, pushed: Any) -> None:
    text = hub.repos["org/adapter"].tree("main")[1]["README.md"].decode()  # type: ignore[index]
    head = ModelCard(text).data.to_dict()
    assert head["language"] == ["ko", "en"] and head["license"] == "apache-2.0" and head["library_name"] == "peft"
    assert head["base_model"] == "org/base" and head["datasets"] == ["maywell/ko_Ultrafeedback_binarized"]
    evaluation = json.loads((run / "evaluation" / "manifest.json").read_text(encoding="utf-8"))["fingerprint"][:12]
    assert f"| bits per byte, Korean (lower is better) | 3.0000 | 2.7000 | evaluation {evaluation} |" in text
    assert "| 지시 학습 평가 몫: loss | 3.5000 | 2.2500 | instruction " in text
    assert "확인되지 않음: 카드에 라이선스가 적혀 있지 않음" in text and "CC0-1.0" in text
    assert "KMMLU and the like: not measured" in text and "ko 4,321" in text
    assert (run / "recipe.yaml").read_text(encoding="utf-8").strip() in text
    assert "[More Information Needed]" not in text and str(run) not in text


def test_a_folder_is_laid_out_the_same_way_and_loads(run: Path, hub: StandIn, pushed: Any, tmp_path: Path) -> None:
    push(run, tmp_path / "out", stage="instruction", base="org/base", licence="apache-2.0")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == pushed.files.keys() and not (tmp_path / "out.partial").exists()
    assert load_adapter(tmp_path / "out", machine=CPU).revision is None
    with pytest.raises(KoreanLLMError, match="not empty"):
        push(run, tmp_path / "out", stage="base")


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def damage(run: Path) -> None:
    with (run / "export" / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")


def leak(run: Path) -> None:
    with (run / "recipe.yaml").open("a", encoding="utf-8") as file:
        file.write(f"# token: {TOKEN}\n")


def replace_base(run: Path) -> None:
    manifest = json.loads((run / "evaluation" / "manifest.json").read_text(encoding="utf-8"))
    (run / "base" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "stage", "to", "says"),
    [
        (None, "instruction", "org/x", "--stage base --to org/name`, then give that id with --base"),
        (None, "corpus", "org/x", "leaves nothing to publish; expected one of: export"),
        (None, "preference", "org/x", "holds no finished 'preference'"),
        (None, None, "no-slash", "is no Hub id; expected org/name"),
        (None, None, "other/x", "use one that may write"),
        (damage, None, "org/x", "--only export --force"),
        (leak, None, "org/x", r"recipe.yaml, line \d+, holds what looks like a token"),
        (replace_base, None, "org/x", "was made from another model"),
    ],
)
def test_what_cannot_be_published_is_refused_and_nothing_is_sent(
    run: Path, hub: StandIn, tmp_path: Path, spoil: Any, stage: str | None, to: str, says: str
) -> None:
    place = run
    if spoil:
        place = copied(run, tmp_path)
        spoil(place)
    with pytest.raises(KoreanLLMError, match=says) as refused:
        push(place, to, stage=stage)
    assert TOKEN not in str(refused.value) and hub.counted("PUT") == 0 and not hub.repos


def test_a_base_that_is_another_model_on_the_hub_is_refused(run: Path, hub: StandIn) -> None:
    push(run, "org/other", stage="export")
    with pytest.raises(KoreanLLMError, match=r"org/other is not the model .* its model.safetensors is"):
        push(run, "org/x", stage="instruction", base="org/other")


def test_a_licence_that_the_hub_does_not_know_is_refused_before_anything_is_sent(run: Path, hub: StandIn) -> None:
    with pytest.raises(KoreanLLMError, match=r"refuses the card of org/x .*license is wrong.*give --licence a name"):
        push(run, "org/x", licence="nonsense")
    assert hub.counted("PUT") == 0 and len(hub.repos["org/x"].commits) == 1


def test_an_adapter_that_was_not_measured_borrows_no_figures(run: Path) -> None:
    lineage = trace(run, "instruction")
    assert lineage.evaluation is not None and len(figures(lineage)) == 3
    inputs = {**lineage.evaluation.inputs, "preference": "0" * 64}  # then the tuned model is the preference stage's
    later = replace(lineage, evaluation=replace(lineage.evaluation, inputs=inputs))
    assert [figure.english for figure in figures(later)] == ["instruction, held-out: loss"]
    assert any("of this artifact: not measured" in english for _, english in limits(later))


def test_a_public_repository_is_not_written_to_by_accident(run: Path, hub: StandIn) -> None:
    before = hub.add("org/open", {"README.md": b""})
    with pytest.raises(KoreanLLMError, match="exists and is public"):
        push(run, "org/open")
    assert hub.repos["org/open"].branches["main"] == before


@pytest.mark.parametrize(("token", "says"), [("", "sign in with `hf auth login`"), ("hf_wrongwrong", "refused the")])
def test_without_a_good_token_nothing_happens(
    run: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch, token: str, says: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(KoreanLLMError, match=says):
        push(run, "org/x")
    assert not hub.repos


def test_a_hub_that_is_down_is_one_sentence(run: Path, hub: StandIn) -> None:
    hub.stop()
    with pytest.raises(KoreanLLMError, match="did not answer for org/x; run the same command again"):
        push(run, "org/x")


def test_the_command_line_pushes_and_never_shows_the_token(run: Path, hub: StandIn, tmp_path: Path) -> None:
    more = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0", **more}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "korean_llm.cli", "push", str(run), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)

    dry = call("--to", "org/cli", "--dry-run")
    assert dry.returncode == 0 and "model.safetensors" in dry.stdout and "org/cli" not in hub.repos
    done = call("--to", "org/cli", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["revision"] == hub.repos["org/cli"].branches["main"]
    wrong = call("--to", "org/cli", "--to-folder", str(tmp_path / "x"))
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1
    assert TOKEN not in "".join(part.stdout + part.stderr for part in (dry, done, wrong))
