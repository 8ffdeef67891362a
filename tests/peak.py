"""Peak memory of a process of its own: resident size, with an allocator that gives back what is freed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Every block from 64 KiB on is mapped by itself and unmapped when freed, so that resident size is what is held.
_HONEST = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_MMAP_MAX_": "10000000", "MALLOC_ARENA_MAX": "1"}
_ROOT = Path(__file__).parents[1]


def run_alone(module: str, *arguments: str) -> str:
    """stdout of `python -m module arguments`, one thread, in a process whose resident size is honest."""
    environment = {**os.environ, **_HONEST, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", cwd=_ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2_000:]}")
    return done.stdout


def start_peak() -> int:
    """Forget the peak so far; return the resident bytes of this process now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _status("VmRSS")


def peak() -> int:
    """Largest resident bytes since start_peak()."""
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = next(line for line in lines if line.startswith(name + ":"))
    return int(found.split()[1]) * 1024
