"""The memory estimate against measured peaks: three sizes of Llama, three methods, on the CPU in float32.

    python tests/benchmarks/memory.py         # about four minutes on one core, 3 GB
    python tests/benchmarks/memory.py cuda    # the same models held as on a GPU: no bar, since a CPU computes them

Every cell is a process of its own: peak resident size over what it held after a warm-up (tests/training_peak.py).
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from korean_llm.modeling.memory import GIB, Device
from tests.training_peak import compare

SIZES = [(2, 256), (4, 512), (8, 768)]
# For bfloat16 a CPU, unlike a GPU, takes the product that is a whole table's gradient from float32 copies.
METHODS: dict[Device, tuple[str, ...]] = {"cpu": ("full", "lora", "rows"), "cuda": ("body", "lora", "rows")}
BAR = 0.10


def main() -> int:
    """Print measured and estimated, and the estimate's parts; 0 where every cell is within the bar."""
    errors = []
    device: Device = "cuda" if sys.argv[1:] == ["cuda"] else "cpu"
    print(f"{'layers':>6} {'width':>5} {'method':6} {'measured':>9} {'estimated':>9} {'error':>7}  parts, MB")
    for (layers, width), method in itertools.product(SIZES, METHODS[device]):
        cell = compare(layers, width, method, device)
        errors.append(abs(cell.error))
        parts = ", ".join(f"{name} {part * GIB / 1e6:.0f}" for name, part in vars(cell.estimated).items() if part)
        print(
            f"{layers:6} {width:5} {method:6} {cell.measured / 1e6:6.0f} MB {cell.estimated_bytes / 1e6:6.0f} MB"
            f" {100 * cell.error:+6.1f}%  {parts}",
            flush=True,
        )
    print(f"largest error {100 * max(errors):.1f} % (bar: {100 * BAR:.0f} %)")
    return 0 if max(errors) <= BAR or device == "cuda" else 1


if __name__ == "__main__":
    raise SystemExit(main())
