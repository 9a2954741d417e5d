"""From a sweep's name and `key=value` overrides to a checked `SweepConfig`, or one clear line a mistake."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.registry import nearest


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number, as YAML 1.2 does and PyYAML (1.1) does not."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def embedded_sweeps() -> dict[str, str]:
    """Name and YAML text of every sweep that ships with the package."""
    files = (file for file in resources.files("sweeps").iterdir() if file.name.endswith(".yaml"))
    return {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in sorted(files, key=lambda f: f.name)}


def load_sweep(name: str, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep called `name` (an embedded one, or a path to a YAML file) with `key=value` overrides.

    Raises UserError, naming the field, its value and what is allowed.
    """
    is_path = name.endswith((".yaml", ".yml")) or os.sep in name
    text = _read(Path(name)) if is_path else _embedded(name)
    try:
        fields = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{name}: not readable as YAML: {_one_line(error)}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{name}: holds {type(fields).__name__}; a sweep is a mapping of fields")
    fields.setdefault("name", Path(name).stem if is_path else name)
    for override in overrides:
        _set_field(fields, override)
    return checked_sweep(fields)


def checked_sweep(fields: Mapping[str, Any]) -> SweepConfig:
    """`fields` as a SweepConfig; every mistake is one line of the UserError."""
    try:
        return SweepConfig.model_validate(fields)
    except ValidationError as error:
        details = error.errors()
        causes = [d for d in details if not any(_is_within(other["loc"], d["loc"]) for other in details)]
        raise UserError("\n".join(_explained(detail) for detail in causes)) from None


def _embedded(name: str) -> str:
    sweeps = embedded_sweeps()
    if name not in sweeps:
        hint = nearest(name, list(sweeps))
        raise UserError(f"unknown sweep {name!r}: {hint}allowed: {', '.join(sweeps)}, or a path to a .yaml file")
    return sweeps[name]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a sweep: {_one_line(error)}") from None


def _set_field(fields: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"override {override!r}: not understood; allowed: key=value, such as training.epochs=50")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{key}: {text!r} is not readable as YAML: {_one_line(error)}") from None
    *parents, last = key.split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
        if not isinstance(fields, dict):
            raise UserError(f"{key}: unknown key: {parent} has no fields of its own")
    fields[last] = value


def _is_within(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    """Whether one location lies inside another: a list with a bad element is not itself at fault."""
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _explained(detail: Any) -> str:
    """One line for one pydantic error: field, value, what is allowed."""
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    field = ".".join(location) or "sweep"
    if detail["type"] == "extra_forbidden":
        siblings = _fields_beside(location)
        return f"{field}: unknown key; {nearest(location[-1], siblings)}allowed: {', '.join(siblings)}"
    if detail["type"] == "missing":
        return f"{field}: missing; it has no default"
    if detail["type"] == "value_error":
        reason = str(detail["msg"]).removeprefix("Value error, ")
        about_the_whole = isinstance(detail["input"], Mapping)  # such a message names its fields itself
        return reason if about_the_whole else f"{field}: {detail['input']!r} is not allowed; {reason}"
    return f"{field}: {detail['input']!r} is not allowed; allowed: {_allowed(detail)}"


def _allowed(detail: Any) -> str:
    """What a field that failed one of pydantic's own checks may hold."""
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than_equal":
            return f"at least {limits['ge']}"
        case "greater_than":
            return f"more than {limits['gt']}"
        case "less_than_equal":
            return f"at most {limits['le']}"
        case "less_than":
            return f"less than {limits['lt']}"
        case "too_short":
            return f"at least {limits['min_length']} value"
        case "tuple_type":
            return "a list, such as [4,16]"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "a mapping of fields"
        case "literal_error":
            return str(limits["expected"])
        case _:
            message = str(detail["msg"])
            return message.removeprefix("Input should be ").removeprefix("String should ")


def _fields_beside(location: Sequence[str]) -> list[str]:
    """Names of the fields that may stand where the unknown key at `location` stood."""
    schema = SweepConfig.model_json_schema()
    node = schema
    for part in location[:-1]:
        child = node.get("properties", {}).get(part, node.get("additionalProperties", {}))
        node = schema["$defs"][child["$ref"].rpartition("/")[2]] if "$ref" in child else child
    return list(node.get("properties", {}))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
