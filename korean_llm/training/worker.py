"""One of the processes that train a phase together: `python -m korean_llm.training.worker PLAN NUMBER`."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import torch
from transformers import set_seed

from korean_llm.errors import KoreanLLMError
from korean_llm.modeling.load import load_model, load_tokenizer
from korean_llm.training.launch import ERROR
from korean_llm.training.phases import Phases, Plan
from korean_llm.training.probe import Probe


def main() -> None:
    """Train the phase; leave an error's words where the launching process looks for them."""
    plan: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    try:
        train(plan, int(sys.argv[2]))
    except KoreanLLMError as error:
        if os.environ["RANK"] == "0":
            (plan.checkpoints / ERROR).write_text(str(error), encoding="utf-8")
        sys.exit(getattr(error, "status", 2))
    finally:
        if torch.distributed.is_initialized():  # left to the interpreter's end, gloo's threads may abort the process
            torch.distributed.destroy_process_group()


def train(plan: Plan, number: int) -> None:
    """Build the model as the phases before left it, and train phase `number`."""
    if plan.machine.torch_device().type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    set_seed(plan.seed)
    probe = Probe(plan.settings, plan.corpus, load_tokenizer(plan.source))
    phases = Phases(plan, load_model(plan.source, plan.machine, quantized=plan.settings.quantized_base), probe)
    if number > 1:
        phases.load(number - 1)
    phases.train(number)


if __name__ == "__main__":
    main()
