"""vLLM's own server (`vllm serve`) on a GPU, as a process beside ours that ends with it.

Flags as documented at https://docs.vllm.ai/en/latest/cli/serve/.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.serving.guard import KEY_VARIABLE

if TYPE_CHECKING:
    from korean_llm.answering.writing.places import ModelPlace

PROGRAM = "vllm"
START_S = 900.0
STOP_S = 15.0
LOG = "vllm.log"

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank takes."""

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

# No usage statistics, nothing fetched: the model lies in a folder.
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


def command(place: ModelPlace, name: str, port: int) -> list[str]:
    """The command line that serves a model under a name on loopback; an adapter is served beside its base."""
    base = name if place.adapter is None else f"{name}-base"
    line = [PROGRAM, "serve", str(place.model), "--host", "127.0.0.1", "--port", str(port)]
    line += ["--served-model-name", base, "--generation-config", "vllm", "--disable-uvicorn-access-log"]
    if place.adapter is not None:
        line += ["--enable-lora", "--lora-modules", f"{name}={place.adapter}"]
        line += ["--max-lora-rank", str(_rank(place.adapter))]
        template = place.adapter / "chat_template.jinja"
        line += ["--chat-template", str(template)] if template.is_file() else []
    return line


def _rank(adapter: Path) -> int:
    rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    return next((known for known in LORA_RANKS if known >= rank), LORA_RANKS[-1])


@contextmanager
def running(place: ModelPlace, name: str, records: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """The server, once it is ready: (base URL, whether it still runs). Its output goes to records/vllm.log.

    Raises KoreanLLMError where vLLM is not installed, or ends or stays silent before it is ready.
    """
    port = _free_port()
    records.mkdir(parents=True, exist_ok=True)
    with (records / LOG).open("wb") as log:
        process = _started(command(place, name, port), log.fileno())
        try:
            with console.working(f"vLLM opens {place.adapter or place.model}"):
                _wait_ready(process, port, records / LOG)
            yield f"http://127.0.0.1:{port}/v1", lambda: process.poll() is None
        finally:
            _stop(process)


def _started(line: list[str], log: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **_QUIET}
    environment.pop(KEY_VARIABLE, None)  # our own door's key is nothing to it
    if key := os.environ.get("OPENAI_API_KEY"):
        environment["VLLM_API_KEY"] = key  # the one that our client sends; not on the command line, where all see it
    try:
        return subprocess.Popen(line, stdout=log, stderr=log, env=environment, preexec_fn=_end_with_parent)
    except OSError as error:
        raise KoreanLLMError(
            f"--engine vllm cannot start `{PROGRAM}` ({error.strerror}); `pip install vllm` on a machine with a GPU, or"
            " use another --engine."
        ) from None


def _end_with_parent() -> None:
    """Asks Linux to end the child when its parent is killed, so that it does not keep the GPU's memory."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2][:200]
            raise KoreanLLMError(f"vLLM ended with status {process.returncode} ({last}); all it said is in {log}.")
        if _healthy(port):
            return
        time.sleep(0.5)
    raise KoreanLLMError(f"vLLM was not ready after {START_S:.0f} s; what it said is in {log}.")


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
