"""Every field of a sweep, from its type: docs/configuration.md.

    python -m dbviz_ray.config.reference > docs/configuration.md

The page comes from the JSON schema of `SweepConfig`, so it states exactly what is checked.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dbviz_ray import config
from dbviz_ray.config.registry import ARCHITECTURES, DATASETS, architecture_builder

Node = Mapping[str, Any]
"""A piece of a JSON schema."""

HEAD = """\
# Every field of a sweep

<!-- Written by `python -m dbviz_ray.config.reference > docs/configuration.md`; change the types, not this page. -->

A sweep is one YAML file. [sweeps.md](sweeps.md) shows how to write one, and how to override a field on the command line
by its dotted name. In the names below `NAME` is a name of your own and `N` a place in a list, from 0. A field with
default *unset* may be left out or set to `null`. An unknown field or a wrong value ends the command with one line that
says what is allowed.
"""


def reference() -> str:
    """The page, as Markdown."""
    schema = config.SweepConfig.model_json_schema()
    nodes = {"SweepConfig": schema, **schema["$defs"]}
    places: dict[str, list[str]] = {}
    for name, place in _places("SweepConfig", "", nodes):
        places.setdefault(name, []).append(place)
    first = {name: min(at, key=lambda place: place.count(".")) for name, at in places.items()}
    sections = [_section(name, first, places[name], nodes[name]) for name in first]
    return "\n".join([HEAD, *sections, *_registered()])


def _places(name: str, place: str, nodes: Mapping[str, Node]) -> Iterator[tuple[str, str]]:
    """Each group of fields within `name`, including itself, with a dotted name of its place."""
    yield name, place
    for field, node in nodes[name]["properties"].items():
        for inner, ending in _groups_in(node):
            yield from _places(inner, f"{place}.{field}{ending}".lstrip("."), nodes)


def _groups_in(node: Node) -> Iterator[tuple[str, str]]:
    """The groups of fields that a value may hold, and the ends of their dotted names."""
    if "$ref" in node:
        yield str(node["$ref"]).rpartition("/")[2], ""
    named = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    inside = [(kind, "") for kind in node.get("anyOf", ())]
    inside += [(node["items"], ".N")] if isinstance(node.get("items"), Mapping) else []
    inside += [(kind, ".NAME") for kind in named if isinstance(kind, Mapping)]
    for kind, ending in inside:
        yield from ((name, f"{ending}{rest}") for name, rest in _groups_in(kind))


def _section(name: str, first: Mapping[str, str], places: list[str], node: Node) -> str:
    group: type[BaseModel] = getattr(config, name)
    also = [f"`{place}`" for place in places if place != first[name]]
    rows = [
        _row(f"`{field}`", _kind(inner, first), _default(group.model_fields[field]), inner.get("description", ""))
        for field, inner in node["properties"].items()
    ]
    return "\n".join(
        [
            f"## {first[name] or 'The sweep'}\n",
            f"{inspect.getdoc(group) or ''}\n",
            *([f"Also at {', '.join(also)}.\n"] if also else []),
            *_head("field", "what it may hold", "default", "what it is"),
            *rows,
            "",
        ]
    )


def _head(*columns: str) -> list[str]:
    return [_row(*columns), "|" + "---|" * len(columns)]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "*unset*"
    if isinstance(value, BaseModel):
        return "those below"
    if isinstance(value, dict):
        return f"{', '.join(f'`{name}`' for name in value)}, with those below"
    return f"`{json.dumps(value)}`" if value != "" else ""


def _kind(node: Node, first: Mapping[str, str]) -> str:
    """The allowed values, in words."""
    if "$ref" in node:
        title = first[str(node["$ref"]).rpartition("/")[2]]
        return f"[fields](#{title.lower().replace('.', '')})"
    if "anyOf" in node:
        return _joined([_kind(kind, first) for kind in node["anyOf"] if kind.get("type") != "null"])
    if "enum" in node:
        return _joined([f"`{value}`" for value in node["enum"]])
    match node.get("type"):
        case "integer" | "number" as kind:
            return f"{kind}{_limits(node)}"
        case "boolean":
            return "`true` or `false`"
        case "array" if "prefixItems" in node:
            return f"list of {len(node['prefixItems'])}: {_kind(node['prefixItems'][0], first)}"
        case "array":
            least = node.get("minItems", 0)
            return f"list{f' of at least {least}' * (least > 1)}: {_kind(node['items'], first)}"
        case "object":
            inner = next(iter(node.get("patternProperties", {"": node.get("additionalProperties", {})}).values()))
            return f"names, each with: {_kind(inner, first)}"
        case _:
            signs = re.search(r"0-9([^]0-9]+)\]\*", node.get("pattern", ""))
            return f"letters, digits, {' '.join(f'`{sign}`' for sign in signs[1])}" if signs else "text"


def _joined(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _limits(node: Node) -> str:
    told = [
        f"at least {node['minimum']}" if "minimum" in node else "",
        f"above {node['exclusiveMinimum']}" if "exclusiveMinimum" in node else "",
        f"at most {node['maximum']}" if "maximum" in node else "",
        f"below {node['exclusiveMaximum']}" if node.get("exclusiveMaximum", 2**63) < 2**63 else "",
    ]
    limits = ", ".join(limit for limit in told if limit)
    return f", {limits}" if limits else ""


def _registered() -> list[str]:
    rows = [
        _row(
            f"`{name}`",
            str(ARCHITECTURES[name].standard_width),
            _options(builder),
            (inspect.getdoc(builder) or "").split("\n")[0],
        )
        for name, family, builder in ((name, own, architecture_builder(name)) for name, own in ARCHITECTURES.items())
    ]
    return [
        "## Registered names\n",
        f"Data sets (`dataset.name`): {', '.join(f'`{name}`' for name in DATASETS)}.\n",
        *_head("architecture", "standard width", "options", "what it is"),
        *rows,
    ]


def _options(builder: Callable[..., Any]) -> str:
    """The options of an architecture and their defaults."""
    parameters = inspect.signature(builder).parameters.values()
    options = [parameter for parameter in parameters if parameter.default is not parameter.empty]
    return ", ".join(f"`{option.name}: {json.dumps(option.default)}`" for option in options)


if __name__ == "__main__":
    print(reference())
