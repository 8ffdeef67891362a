"""How this machine does the work: device, workers, origin of downloads. Never part of a recipe or a fingerprint."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from korean_llm.errors import KoreanLLMError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
Origin = Literal["auto", "hub", "wheel"]
Tracker = Literal["tensorboard", "wandb", "trackio"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flex_attention"]


def available_cores() -> int:
    """Processors this process may run on (a container's share, not the host's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Machine:
    """Where and how a stage runs.

    Attributes:
        device: "cpu", "cuda", or "auto" (CUDA where torch sees a card, else CPU).
        workers: processes or threads for work on the CPU; 0 means all cores of this process.
        origin: where models come from that have several homes: "hub", "wheel", or "auto" (the Hub where it
            answers, else the wheel).
        gpus: processes that train together, one on each GPU (or, on a CPU, that many processes).
        attention: implementation in training; "auto" takes FlashAttention where it is installed on a GPU, else SDPA.
        report_to: a tracker that training also reports to, besides metrics.jsonl.
        four_bit: hold the model that answers in 4-bit NF4 (needs a GPU).
    """

    device: Device = "auto"
    workers: int = 0
    origin: Origin = "auto"
    gpus: int = 1
    attention: Attention = "auto"
    report_to: Tracker | None = None
    four_bit: bool = False

    @property
    def num_workers(self) -> int:
        """Number of CPU workers, at least 1."""
        return self.workers or available_cores()

    def torch_device(self) -> torch.device:
        """The torch device. Raises KoreanLLMError where CUDA is asked for and absent."""
        import torch

        if self.device == "cpu":
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda")
        if self.device == "cuda":
            raise KoreanLLMError(
                f"--device cuda was asked for, but torch {torch.__version__} sees no CUDA device here;"
                " use --device cpu, or install the CUDA build of torch."
            )
        return torch.device("cpu")

    def dtype(self) -> torch.dtype:
        """bfloat16 on a GPU; float32 on a CPU, where bfloat16 arithmetic is emulated and slower."""
        import torch

        return torch.bfloat16 if self.torch_device().type == "cuda" else torch.float32

    def describe(self) -> str:
        """One line for manifests, such as "cpu, 2 workers" or "NVIDIA H200"."""
        import torch

        if self.torch_device().type == "cuda":
            many = f"{self.gpus} × " if self.gpus > 1 else ""
            return f"{many}{torch.cuda.get_device_name()}"
        return f"cpu, {self.num_workers} workers"

    def attention_implementation(self) -> str:
        """The attention implementation that models train with."""
        if self.attention != "auto":
            return self.attention
        flash = self.torch_device().type == "cuda" and importlib.util.find_spec("flash_attn") is not None
        return "flash_attention_2" if flash else "sdpa"

    def check(self) -> None:
        """Raises KoreanLLMError where the command line asks for GPUs, an attention or a tracker that are not here."""
        if self.report_to and importlib.util.find_spec(self.report_to) is None:
            raise KoreanLLMError(
                f"--report-to {self.report_to} was asked for, but it is not installed; `pip install {self.report_to}`."
            )
        if self.gpus == 1 and self.attention not in ("flash_attention_2", "flex_attention"):
            return
        import torch

        cuda = self.torch_device().type == "cuda"
        if self.attention == "flash_attention_2" and not (cuda and importlib.util.find_spec("flash_attn")):
            raise KoreanLLMError(
                "--attention flash_attention_2 needs a GPU and the package flash-attn; use --attention sdpa."
            )
        if self.attention == "flex_attention" and not cuda:
            raise KoreanLLMError("--attention flex_attention needs a GPU; use --attention sdpa.")

        if self.gpus > 1 and cuda and self.gpus > torch.cuda.device_count():
            raise KoreanLLMError(
                f"--gpus {self.gpus} was asked for, but torch sees {torch.cuda.device_count()}; ask for no more."
            )
