"""Engines: which is taken, llama.cpp's server for real, and vLLM's command line with a stand-in for the program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from korean_llm.answering.answer import Sampling
from korean_llm.answering.writing.endpoint import Endpoint
from korean_llm.answering.writing.places import ModelPlace
from korean_llm.errors import KoreanLLMError
from korean_llm.export.gguf import write_gguf
from korean_llm.export.llama_cpp import bindings
from korean_llm.machine import Machine
from korean_llm.serving import vllm
from korean_llm.serving.engine import chosen, running
from tests.answering.conftest import write_artifact
from tests.conftest import make_model, make_tokenizer

CPU = Machine("cpu", 1)


@pytest.fixture(scope="module")
def exported_run(served_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose export holds a model and its GGUF file."""
    run = Path(shutil.copytree(served_run, tmp_path_factory.mktemp("exported") / "small"))

    def export(out: Path) -> None:
        tokenizer = make_tokenizer()
        make_model(len(tokenizer), hidden=256).save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")
        write_gguf(out / "model", out / "model-q8_0.gguf", "gguf-q8_0", 1)

    write_artifact(run, "export", export)
    return run


def test_auto_takes_what_is_here(exported_run: Path, served_run: Path, tmp_path: Path) -> None:
    assert chosen("auto", exported_run, CPU) == ("llama.cpp" if bindings() else "transformers")
    assert chosen("auto", served_run, CPU) == "transformers"
    assert chosen("auto", tmp_path, CPU) == "none"
    assert chosen("vllm", served_run, CPU) == "vllm"


def test_llama_cpp_serves_the_export(exported_run: Path) -> None:
    if bindings() is None:
        pytest.skip("xllamacpp is not installed")
    with running("llama.cpp", exported_run, "small", CPU) as engine:
        assert engine.url and engine.url.startswith("http://127.0.0.1:") and engine.alive()
        endpoint = Endpoint(engine.url, engine.model)
        said = "".join(endpoint.generate([{"role": "user", "content": "hi"}], Sampling(max_new_tokens=6)))
        assert isinstance(said, str)


def test_no_model_no_engine(tmp_path: Path) -> None:
    for kind in ("vllm", "transformers"):
        with (
            pytest.raises(KoreanLLMError, match=r"holds no finished model.*--engine none"),
            running(kind, tmp_path, "x", CPU),
        ):
            pass
    with running("none", tmp_path, "x", CPU) as engine:
        assert engine.url is None


def test_the_command_line_of_vllm(tmp_path: Path) -> None:
    plain = vllm.command(ModelPlace(tmp_path / "model"), "law", 4711)
    assert plain[:3] == ["vllm", "serve", str(tmp_path / "model")]
    assert " ".join(plain[3:]).startswith("--host 127.0.0.1 --port 4711 --served-model-name law ")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"r": 24}', encoding="utf-8")
    (adapter / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    tuned = " ".join(vllm.command(ModelPlace(tmp_path / "model", adapter), "law", 4711))
    assert (
        "--served-model-name law-base" in tuned
        and f"--enable-lora --lora-modules law={adapter} --max-lora-rank 32" in tuned
    )
    assert f"--chat-template {adapter / 'chat_template.jinja'}" in tuned


def write_program(folder: Path, body: str) -> Path:
    """A program named vllm."""
    program = folder / "vllm"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys, time\nprint('starting', flush=True)\n{body}", encoding="utf-8"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


READY = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
seen = {name: os.environ.get(name) for name in ("VLLM_API_KEY", "VLLM_NO_USAGE_STATS")}
open(os.environ["SEEN"], "w").write(json.dumps({"pid": os.getpid(), **seen}))
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Ready).serve_forever()
"""


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    return tmp_path


def test_vllm_is_started_waited_for_and_ended(
    path_with: Path, monkeypatch: pytest.MonkeyPatch, served_run: Path
) -> None:
    write_program(path_with, READY)
    monkeypatch.setenv("OPENAI_API_KEY", "the-engine-s-key")
    with vllm.running(ModelPlace(path_with), "law", path_with / "records") as (url, alive):
        seen = json.loads((path_with / "seen.json").read_text(encoding="utf-8"))
        assert url.startswith("http://127.0.0.1:") and url.endswith("/v1") and alive()
        assert seen["VLLM_API_KEY"] == "the-engine-s-key" and seen["VLLM_NO_USAGE_STATS"] == "1"
    assert not alive() and not _lives(seen["pid"])


def test_vllm_that_ends_early_is_one_sentence(path_with: Path) -> None:
    write_program(path_with, "print('CUDA out of memory', flush=True); sys.exit(3)")
    said = r"vLLM ended with status 3 \(CUDA out of memory\); all it said is in .*vllm.log"
    place, records = ModelPlace(path_with), path_with / "records"
    with pytest.raises(KoreanLLMError, match=said), vllm.running(place, "law", records):
        pass


def test_without_vllm_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = r"--engine vllm cannot start `vllm`.*pip install vllm"
    with pytest.raises(KoreanLLMError, match=said), vllm.running(ModelPlace(tmp_path), "law", tmp_path / "records"):
        pass


def test_vllm_does_not_outlive_a_killed_server(path_with: Path) -> None:
    write_program(path_with, READY)
    scene = (
        "from pathlib import Path; import time\n"
        "from korean_llm.serving import vllm\n"
        f"process = vllm._started([{str(path_with / 'vllm')!r}, '--port', '0'], 2)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", scene])
    seen = path_with / "seen.json"
    _wait(lambda: seen.exists() and seen.read_text(encoding="utf-8").endswith("}"))
    child = json.loads(seen.read_text(encoding="utf-8"))["pid"]
    assert _lives(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    stat_file = Path(f"/proc/{pid}/stat")
    return stat_file.exists() and stat_file.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def _wait(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
