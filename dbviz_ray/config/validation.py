"""Mistakes in a configuration, each as one line that names the field, its value and what is allowed."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dbviz_ray.config.registry import nearest
from dbviz_ray.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict = 3, 30, 30, 30
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 200
"""A value as messages quote it: YAML's aliases can make one that is endless when written out."""


def validated(model: type[Model], fields: Mapping[str, Any]) -> Model:
    """`fields` as a `model`; every mistake is one line of the UserError."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        details = error.errors()
        causes = [d for d in details if not any(_is_within(other["loc"], d["loc"]) for other in details)]
        raise UserError("\n".join(_explained(model, detail) for detail in causes)) from None


def _is_within(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    """Whether one location lies inside another: a list with a bad element is not itself at fault."""
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _explained(model: type[BaseModel], detail: Any) -> str:
    """One line for one pydantic error: field, value, what is allowed."""
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    field = ".".join(location) or model.__name__
    if detail["type"] == "extra_forbidden":
        siblings = _fields_beside(model, location)
        return f"{field}: unknown key; {nearest(location[-1], siblings)}allowed: {', '.join(siblings)}"
    if detail["type"] == "missing":
        return f"{field}: missing; it has no default"
    if detail["type"] == "value_error":
        reason = str(detail["msg"]).removeprefix("Value error, ")
        if isinstance(detail["input"], Mapping):  # such a message names its fields itself, from where it stands
            return ".".join([*location, reason])
        return f"{field}: {_SHORT.repr(detail['input'])} is not allowed; {reason}"
    return f"{field}: {_SHORT.repr(detail['input'])} is not allowed; allowed: {_allowed(detail)}"


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
            return f"at least {limits['min_length']} value{'s' * (limits['min_length'] > 1)}"
        case "tuple_type":
            return "a list, such as [4,16]"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "a mapping of fields"
        case "literal_error":
            return str(limits["expected"])
        case _:
            message = str(detail["msg"])
            return message.removeprefix("Input should be ").removeprefix("String should ")


def _fields_beside(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Names of the fields that may stand where the unknown key at `location` stood."""
    schema = model.model_json_schema()
    node = schema
    for part in location[:-1]:
        freely_named = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
        children = [node.get("properties", {}).get(part), node.get("items"), *freely_named]
        node = _resolved(schema, next((child for child in children if isinstance(child, dict)), {}))
    return list(node.get("properties", {}))


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A node behind references, and behind what may also be null."""
    if "anyOf" in node:
        node = next(kind for kind in node["anyOf"] if kind.get("type") != "null")
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
