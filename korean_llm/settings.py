"""Settings in YAML files: strict models, every error of a file reported at once with its path and nearest key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from korean_llm.errors import KoreanLLMError


class Strict(BaseModel):
    """Base of every section: unknown keys are errors, values are frozen, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads 4e-5 as a number, as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            line = node.start_mark.line + 1
            raise KoreanLLMError(f"key {repeated[0]!r} stands twice in the block that begins on line {line}.")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> Any:
    """Parse a YAML file. Raises KoreanLLMError where it is missing, not UTF-8, or not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (FileNotFoundError, NotADirectoryError):
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.y*ml"))) if path.parent.is_dir() else ""
        raise KoreanLLMError(f"{path} does not exist; here is: {near or 'no YAML file'}.") from None
    except IsADirectoryError:
        raise KoreanLLMError(f"{path} is a folder; expected a YAML file.") from None
    except UnicodeDecodeError as error:
        raise KoreanLLMError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise KoreanLLMError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    except KoreanLLMError as error:
        raise KoreanLLMError(f"{path}: {error}") from None
    except OSError as error:
        raise KoreanLLMError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # 2024-13-45 looks like a date; brackets a thousand deep
        raise KoreanLLMError(f"{path} is not valid YAML: {error}.") from None


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Field names of the section that holds `location`, by walking the JSON schema."""
    schema = model.model_json_schema()
    node: Any = schema
    for part in location[:-1]:
        node = _resolve(node, schema)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(str(part), {})
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: Any, schema: Any) -> Any:
    """Follow $ref and the object arm of a union."""
    if "$ref" in node:
        return _resolve(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    for key in ("anyOf", "allOf", "oneOf"):
        for arm in node.get(key, []):
            resolved = _resolve(arm, schema)
            if "properties" in resolved or "items" in resolved:
                return resolved
    return node


def describe_errors(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per error: path, offending value, what was expected, nearest key."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(model, item["loc"])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            lines.append(f"{path}: unknown key; {hint}")
        elif item["type"] == "missing":
            lines.append(f"{path}: missing; this key is required")
        else:
            value = "" if isinstance(item["input"], dict) else f"{_shortened(repr(item['input']))} is not accepted; "
            lines.append(f"{path}: {value}{_expected(item)}".removeprefix(": "))
    return lines


# Where pydantic's own words would not read as "expected …".
_EXPECTED = {
    "string_type": "text",
    "string_pattern_mismatch": "text that matches {pattern}",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "too_short": "at least {min_length} in it",
    "invalid_key": "a key that is text",
}


def _expected(item: Any) -> str:
    if item["type"] in _EXPECTED:
        return "expected " + _EXPECTED[item["type"]].format(**item.get("ctx", {}))
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return message if message.startswith("expected") else f"expected {message}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def parse(model: type[Strict], value: Any, origin: str, more: Sequence[str] = ()) -> Any:
    """Validate value as model. Raises KoreanLLMError that lists every error of the file at once; more: known ones."""
    if not isinstance(value, dict):
        raise KoreanLLMError(
            f"{origin}: expected a mapping of keys ({', '.join(model.model_fields)}), found {type(value).__name__}."
        )
    lines = list(more)
    try:
        parsed = model.model_validate(value)
    except ValidationError as error:
        lines = describe_errors(model, error) + lines
    if lines:
        count = f"{len(lines)} error{'s' if len(lines) > 1 else ''}"
        raise KoreanLLMError(f"{origin}: {count}\n" + "\n".join(f"  {line}" for line in lines))
    return parsed
