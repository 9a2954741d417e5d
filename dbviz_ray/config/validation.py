"""Mistakes in a configuration: each names the field, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dbviz_ray.config.registry import nearest
from dbviz_ray.errors import FieldError, Mistake, UserError

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], fields: Mapping[str, Any]) -> Model:
    """`fields` as a `model`; a UserError lists every mistake."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        details = error.errors()
        causes = [d for d in details if not any(_is_within(other["loc"], d["loc"]) for other in details)]
        raise UserError.of(_mistake(model, detail) for detail in causes) from None


def _is_within(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    """Whether one location lies inside another: a list with a wrong element is not itself wrong."""
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _mistake(model: type[BaseModel], detail: Any) -> Mistake:
    """The mistake behind one pydantic error."""
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    field = ".".join(location) or model.__name__
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        return cause.about(".".join(location), detail["input"])
    match detail["type"]:
        case "extra_forbidden":
            siblings = _fields_beside(model, location)
            hint = nearest(location[-1], siblings)
            return Mistake(field, reason="unknown key", allowed=", ".join(siblings), hint=hint)
        case "missing":
            return Mistake(field, reason="missing; it has no default")
        case _:
            return Mistake(field, detail["input"], allowed=_allowed(detail))


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
        case "string_too_long":
            return f"at most {limits['max_length']} characters"
        case "string_pattern_mismatch":
            return f"text that matches {limits['pattern']}"
        case "literal_error":
            return str(limits["expected"])
        case kind:
            return _KINDS.get(kind) or str(detail["msg"])


_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a mapping of fields",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "an integer",
    "model_attributes_type": "a mapping of fields",
    "model_type": "a mapping of fields",
    "string_type": "text; in YAML, text that looks like something else needs quotes",
    "tuple_type": "a list, such as [4,16]",
}
"""What a field may hold, by pydantic's type of error."""


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
    """A node behind references and optional types."""
    if "anyOf" in node:
        node = next(kind for kind in node["anyOf"] if kind.get("type") != "null")
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
