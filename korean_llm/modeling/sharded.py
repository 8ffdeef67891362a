"""Weights sharded over several processes by torch's FSDP2, gathered layer by layer where they are needed.

accelerate shards on GPUs only; sharding here lets tests on a CPU run what a GPU box runs. Each parameter is a DTensor
of its own, so frozen tables and the new rows beside them shard like anything else (Zhao et al. 2023, arXiv 2304.11277).
"""

from __future__ import annotations

import torch
from peft import PeftModel
from torch.distributed import get_world_size
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from korean_llm.modeling.trainable import Model


def shard(model: Model, device: torch.device) -> None:
    """Shard a model in place over all processes: every decoder layer a unit, tables and norm one more.

    What trains has to be chosen before: gradients are arranged for when a weight is sharded.
    """
    mesh = init_device_mesh(device.type, (get_world_size(),))
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    for layer in base.get_decoder().layers:  # type: ignore[operator]
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "generate")
    vars(model)["_is_fsdp_managed_module"] = True  # what transformers asks when it generates and accumulates gradients
