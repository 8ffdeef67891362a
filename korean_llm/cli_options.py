"""What the verbs of the command line share: options, and how JSON is printed."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from korean_llm.machine import Device

DeviceOption = Annotated[Device, typer.Option("--device", help="Where models run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
EndpointModelOption = Annotated[str | None, typer.Option("--model", help="Model name at the endpoint.")]


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
