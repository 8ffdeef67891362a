"""Loading: pinned, whole, and only on the base the adapter was trained on; each mismatch one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import korean_llm.hub.check
import korean_llm.modeling.load
from korean_llm.errors import KoreanLLMError
from korean_llm.hub import check_adapter, fetch_adapter, load_adapter, push
from korean_llm.hub.identity import weights_print
from korean_llm.machine import Machine
from tests.export.tiny import write_adapter, write_model
from tests.hub.stand_in import StandIn

CPU = Machine("cpu", 1)
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def published(run: Path, hub: StandIn) -> StandIn:
    """org/base and org/adapter, as the run's push leaves them."""
    push(run, "org/base", stage="base")
    push(run, "org/adapter", stage="instruction", base="org/base")
    return hub


@pytest.fixture
def adapter(run: Path, tmp_path: Path) -> Path:
    """A copy of the run's adapter, to damage."""
    return Path(shutil.copytree(run / "instruction" / "adapter", tmp_path / "copied" / "adapter"))


def files_of(hub: StandIn, name: str) -> dict[str, bytes]:
    return dict(hub.repos[name].tree("main")[1])  # type: ignore[index]


def test_a_revision_is_pinned_though_main_has_moved_on(published: StandIn) -> None:
    first = published.repos["org/adapter"].branches["main"]
    files = files_of(published, "org/adapter")
    second = published.add("org/adapter", {**files, "template.json": b'{"sha256": "0"}'})
    pinned = fetch_adapter("org/adapter", first)
    assert pinned.revision == pinned.folder.name == first != second
    assert fetch_adapter(f"org/adapter@{first}") == pinned
    assert fetch_adapter("org/adapter").revision == second
    assert (pinned.folder / "template.json").read_bytes() == files["template.json"]


def test_only_weights_settings_and_tokenizer_are_fetched(published: StandIn) -> None:
    extra = {"run.py": b"import os", "old.bin": b"\x80", "checkpoint-1/config.json": b"{}", "notes.pkl": b""}
    published.add("org/adapter", {**files_of(published, "org/adapter"), **extra})
    names = {path.name for path in fetch_adapter("org/adapter").folder.iterdir()}
    assert WEIGHTS in names and not names & {"run.py", "old.bin", "checkpoint-1", "notes.pkl", "README.md"}


def test_a_base_that_moves_on_between_check_and_weights_is_taken_as_checked(
    published: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published.repos["org/base"].branches["main"]
    checked = korean_llm.hub.check.checked_chat

    def moving(adapter: Path, base: Path) -> Any:
        published.add("org/base", {**files_of(published, "org/base"), "more.json": b"{}"})
        return checked(adapter, base)

    monkeypatch.setattr(korean_llm.hub.check, "checked_chat", moving)
    assert load_adapter("org/adapter", base="org/base", machine=CPU).base.name == first
    assert published.repos["org/base"].branches["main"] != first


def test_offline_the_cache_answers_and_only_it(published: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    online = load_adapter("org/adapter", machine=CPU)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    before = len(published.requests)
    offline = load_adapter("org/adapter", machine=CPU)
    assert (offline.adapter, offline.base, offline.revision) == (online.adapter, online.base, online.revision)
    assert load_adapter(f"org/adapter@{online.revision}", machine=CPU).revision == online.revision
    with pytest.raises(KoreanLLMError, match="HF_HUB_OFFLINE is set; give the folder"):
        load_adapter("org/elsewhere", machine=CPU)
    assert len(published.requests) == before


def test_a_server_that_is_down_leaves_the_cache_or_one_sentence(published: StandIn) -> None:
    kept = fetch_adapter("org/adapter")
    published.stop()
    huggingface_hub.close_session()
    assert fetch_adapter("org/adapter") == kept
    with pytest.raises(KoreanLLMError, match=r"the Hub \(http.*\) did not answer"):
        fetch_adapter("org/elsewhere")


def test_a_download_that_breaks_off_is_resumed(published: StandIn, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 500)
    published.cut[WEIGHTS] = [1000]
    fetched = fetch_adapter("org/adapter")
    assert published.ranges and published.ranges[0].startswith("bytes=1000-")
    assert (fetched.folder / WEIGHTS).read_bytes() == (run / "instruction/adapter" / WEIGHTS).read_bytes()


def test_a_download_that_never_gets_through_leaves_no_half_file(
    published: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits a second before it tries again
    published.cut[WEIGHTS] = [0] * 9
    with pytest.raises(KoreanLLMError, match="try again: what is there is kept"):
        fetch_adapter("org/adapter")
    assert not list(Path(huggingface_hub.constants.HF_HUB_CACHE).rglob(WEIGHTS))
    published.cut.clear()
    assert (fetch_adapter("org/adapter").folder / WEIGHTS).exists()


def test_a_spoilt_download_is_refused_removed_and_fetched_again(published: StandIn) -> None:
    published.spoil.add(WEIGHTS)
    with pytest.raises(KoreanLLMError, match="damaged on the way"):
        fetch_adapter("org/adapter")
    published.spoil.clear()
    assert (fetch_adapter("org/adapter").folder / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("name", "files", "says"),
    [
        ("org/pickles", {"adapter_config.json": b"{}", "adapter_model.bin": b"\x80"}, "pickles are not opened"),
        ("org/whole", {"config.json": b"{}", "model.safetensors": b""}, "holds a whole model"),
        ("org/texts", {"README.md": b"hello"}, "holds no adapter"),
        ("org/bare", {"adapter_config.json": b"{}"}, "lacks adapter_model.safetensors"),
    ],
)
def test_a_repository_without_a_safe_adapter_is_refused(
    hub: StandIn, name: str, files: dict[str, bytes], says: str
) -> None:
    hub.add(name, files)
    with pytest.raises(KoreanLLMError, match=says):
        fetch_adapter(name)
    assert hub.counted("GET cdn") == 0 and hub.counted(f"GET {name}/resolve/main/adapter_model.bin") == 0


def test_missing_and_private_repositories_are_one_sentence(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/hidden", {"adapter_config.json": b"{}"}, private=True)
    with pytest.raises(KoreanLLMError, match="no such revision"):
        fetch_adapter("org/hidden@v9")
    with pytest.raises(KoreanLLMError, match="no model 'org/none' that can be read with the token"):
        fetch_adapter("org/none")
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(KoreanLLMError, match="no model 'org/hidden' that can be read without a token"):
        fetch_adapter("org/hidden")
    for nonsense in ("./nowhere", "a/b/c", "nowhere", "../../etc"):
        with pytest.raises(KoreanLLMError, match="give its folder or a Hub id"):
            fetch_adapter(nonsense)


def another_vocabulary(adapter: Path, base: Path) -> None:
    write_model(base, "llama3")


def narrower(adapter: Path, base: Path) -> None:
    write_model(base, hidden=32)


def pickled(adapter: Path, base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")


def foreign_module(adapter: Path, base: Path) -> None:
    _edit(adapter / "adapter_config.json", megatron_config={"a": 1}, megatron_core="antigravity")


def another_rank(adapter: Path, base: Path) -> None:
    _edit(adapter / "adapter_config.json", r=8)


def fewer_places(adapter: Path, base: Path) -> None:
    _edit(adapter / "adapter_config.json", target_modules=["q_proj"])


def another_template(adapter: Path, base: Path) -> None:
    place = adapter / "chat_template.jinja"
    place.write_text(place.read_text(encoding="utf-8").replace("<|user|>", "User:"), encoding="utf-8")


def with_a_table(adapter: Path, base: Path) -> None:
    weights = load_file(adapter / WEIGHTS)
    table = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    save_file({**weights, "base_model.model.model.embed_tokens.weight": table}, adapter / WEIGHTS)


def cut_short(adapter: Path, base: Path) -> None:
    content = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(content[: len(content) // 2])


def of_a_classifier(adapter: Path, base: Path) -> None:
    _edit(adapter / "adapter_config.json", task_type="SEQ_CLS")


def torn(adapter: Path, base: Path) -> None:
    (adapter / "adapter_config.json").write_text('{"peft_type": "LO', encoding="utf-8")


def recorded_elsewhere(adapter: Path, base: Path) -> None:
    rows = json.loads((base / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    note = {"hub": "org/base", "revision": "1" * 40, "vocabulary": rows, "weights": "0" * 64}
    (adapter / "base.json").write_text(json.dumps(note), encoding="utf-8")


def recorded_badly(adapter: Path, base: Path) -> None:
    (adapter / "base.json").write_text('{"hub": 1}', encoding="utf-8")


def recorded_larger(adapter: Path, base: Path) -> None:
    note = {"hub": "org/base", "revision": None, "vocabulary": 51_200, "weights": "0" * 64}
    (adapter / "base.json").write_text(json.dumps(note), encoding="utf-8")


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (another_vocabulary, r"the tokenizer of .* has [\d,]+ tokens and that of .* [\d,]+"),
        (narrower, r"is 4 × 128, but this base takes 4 × 64"),
        (pickled, "holds no .safetensors file, and pickled"),
        (foreign_module, "asks for a module of its own"),
        (another_rank, r"is 4 × 128, but this base takes 8 × 128"),
        (fewer_places, "the base has no place for"),
        (another_template, "the chat template in .* renders otherwise"),
        (with_a_table, r"carries a vocabulary of its own .*[\d,]+ rows"),
        (cut_short, "is no whole safetensors file"),
        (of_a_classifier, "for SEQ_CLS, expected CAUSAL_LM"),
        (torn, "adapter_config.json is damaged"),
        (recorded_elsewhere, r"trained on org/base@1111.* but .* holds other weights"),
        (recorded_badly, "base.json is damaged"),
        (recorded_larger, r"a vocabulary of 51,200 rows \(org/base\), but .* has"),
    ],
)
def test_a_mismatch_is_one_sentence_before_any_weights_are_opened(
    run: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, says: str
) -> None:
    base = Path(shutil.copytree(run / "base" / "model", tmp_path / "base"))
    check_adapter(adapter, base)
    monkeypatch.setattr(korean_llm.modeling.load, "load_model", lambda *_: pytest.fail("weights were opened"))
    spoil(adapter, base)
    with pytest.raises(KoreanLLMError, match=says) as refused:
        check_adapter(adapter, base)
    assert "\n" not in str(refused.value)
    with pytest.raises(KoreanLLMError, match=says):
        load_adapter(adapter, base=base, machine=CPU)


def test_a_hub_base_that_does_not_fit_is_refused_before_its_weights_come(published: StandIn, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", hidden=32)
    published.add("org/narrow", {path.name: path.read_bytes() for path in other.iterdir()})
    with pytest.raises(
        KoreanLLMError, match=r"org/adapter@[0-9a-f]{12} does not fit org/narrow@[0-9a-f]{12}: .* but this base takes"
    ):
        load_adapter("org/adapter", base="org/narrow", machine=CPU)
    assert published.counted("HEAD org/narrow/resolve") > 0
    assert not any("org/narrow" in request and "safetensors" in request for request in published.requests)


def test_an_adapter_of_the_hub_opens_no_folder_of_this_machine(published: StandIn, run: Path) -> None:
    files = files_of(published, "org/adapter")
    del files["base.json"]
    config = {**json.loads(files["adapter_config.json"]), "base_model_name_or_path": str(run / "base" / "model")}
    published.add("org/local", {**files, "adapter_config.json": json.dumps(config).encode()})
    with pytest.raises(KoreanLLMError, match="give the base with base="):
        load_adapter("org/local", machine=CPU)
    assert load_adapter("org/local", base=run / "base", machine=CPU).base == run / "base" / "model"


def test_in_a_run_the_base_is_found_and_a_retrained_one_is_known(run: Path, tmp_path: Path) -> None:
    assert load_adapter(run / "instruction", machine=CPU).base == run / "base" / "model"
    with pytest.raises(KoreanLLMError, match=r"was trained on the model .* but .* \(export\)"):
        check_adapter(run / "instruction" / "adapter", run / "export" / "model")


@pytest.mark.parametrize("method", ["dora", "prompt", "prefix"])
def test_other_methods_of_peft_are_checked_as_well(run: Path, tmp_path: Path, method: str) -> None:
    base = run / "base" / "model"
    settings: Any = {
        "dora": LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", use_dora=True),
        "prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=16),
        "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=16),
    }[method]
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(str(tmp_path / "adapter"))
    check_adapter(tmp_path / "adapter", base)
    narrow = write_model(tmp_path / "narrow", hidden=32)
    with pytest.raises(KoreanLLMError, match="does not fit"):
        check_adapter(tmp_path / "adapter", narrow)


def test_the_print_of_weights_knows_a_model_again_in_shards_and_not_another(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole")
    AutoModelForCausalLM.from_pretrained(whole).save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert weights_print(tmp_path / "shards") == weights_print(whole)
    write_adapter(whole, tmp_path / "adapter")
    merged = load_file(whole / "model.safetensors")
    merged["model.layers.2.mlp.up_proj.weight"] *= 1.01
    (tmp_path / "moved").mkdir()
    save_file(merged, tmp_path / "moved" / "model.safetensors")
    assert weights_print(tmp_path / "moved") != weights_print(whole)
