"""A checkpoint folder read one tensor at a time, so that a 7B model is converted in little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoConfig, PretrainedConfig


class Checkpoint:
    """The weights and the configuration of a checkpoint folder; nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
        self._files = {name: path for path in sorted(folder.glob("*.safetensors")) for name in _names(path)}

    @property
    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the file's header."""
        with safe_open(self._files[name], framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """One tensor as float32, whatever the number format of the file."""
        with safe_open(self._files[name], framework="pt") as file:
            values: np.ndarray = file.get_tensor(name).to(torch.float32).numpy()
        return values


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())
