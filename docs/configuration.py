"""Every field of a sweep, from its type: the pages docs/configuration*.md.

    python docs/configuration.py

The pages come from the JSON schema of `SweepConfig`, so they state exactly what is checked.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dbviz_ray import config
from dbviz_ray.config.registry import ARCHITECTURES, DATASETS, architecture_builder
from dbviz_ray.config.validation import groups_in

Node = Mapping[str, Any]
"""A piece of a JSON schema."""

GENERATED = "<!-- Written by `python docs/configuration.py`; change the types, not this page. -->\n"
TITLES = {
    "configuration.md": "Every field of a sweep",
    "configuration_training.md": "Fields of a sweep: how models are trained",
    "configuration_planes.md": "Fields of a sweep: planes, margins, resources",
}
"""The pages and their titles, and below, where a group of fields stands; all others are on the first page."""
ELSEWHERE = {"training": "configuration_training.md"} | dict.fromkeys(
    ("planes", "margins", "resources"), "configuration_planes.md"
)
FIRST, *LATER = TITLES

HEAD = """\
A sweep is one YAML file. [sweeps.md](sweeps.md) shows how to write one, and how to override a field on the command line
by its dotted name. In the names below `NAME` is a name of your own and `N` a place in a list, from 0. A field with
default *unset* may be left out or set to `null`. An unknown field or a wrong value ends the command with one line that
says what is allowed.

| fields | page |
|---|---|
| the sweep, `dataset`, `grid`; registered names | this one |
| `training`, with `distillation` and `adversary` | [training](configuration_training.md) |
| `planes`, `margins`, `resources` | [planes, margins, resources](configuration_planes.md) |
"""

MORE = "[configuration.md](configuration.md) tells what the columns and names mean.\n"


def pages() -> dict[str, str]:
    """Each page, as Markdown."""
    schema = config.SweepConfig.model_json_schema()
    nodes = {"SweepConfig": schema, **schema["$defs"]}
    places: dict[type[BaseModel], list[str]] = {}
    for group, place in _places(config.SweepConfig, ()):
        places.setdefault(group, []).append(".".join(place))
    first = {group.__name__: min(at, key=lambda place: place.count(".")) for group, at in places.items()}
    sections: dict[str, list[str]] = {FIRST: [HEAD], **{page: [MORE] for page in LATER}}
    for group, at in places.items():
        sections[_page(first[group.__name__])].append(_section(group, first, at, nodes[group.__name__]))
    sections[FIRST] += _registered()
    return {
        page: "\n".join([f"# {TITLES[page]}\n", GENERATED, *parts]).rstrip() + "\n" for page, parts in sections.items()
    }


def _page(title: str) -> str:
    """The page on which a group of fields stands."""
    return ELSEWHERE.get(title.partition(".")[0], FIRST)


def _places(group: type[BaseModel], place: tuple[str, ...]) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """Each group of fields within `group`, including itself, and where it stands."""
    yield group, place
    for name, field in group.model_fields.items():
        for inner, names in groups_in(field.annotation):
            yield from _places(inner, (*place, name, *names))


def _section(group: type[BaseModel], first: Mapping[str, str], places: list[str], node: Node) -> str:
    title = first[group.__name__]
    also = ", ".join(f"`{place}`" for place in places if place != title)
    rows = [
        _row(f"`{field}`", _kind(inner, first), _default(group.model_fields[field]), inner.get("description", ""))
        for field, inner in node["properties"].items()
    ]
    head = _head("field", "what it may hold", "default", "what it is")
    also_at = [f"Also at {also}.\n"] if also else []
    return "\n".join([f"## {title or 'The sweep'}\n", f"{inspect.getdoc(group)}\n", *also_at, *head, *rows, ""])


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
        return f"[fields]({_page(title)}#{title.lower().replace('.', '')})"
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
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    told = [f", {words} {node[limit]}" for limit, words in limits.items() if node.get(limit, 2**63) < 2**63]
    return "".join(told)


def _registered() -> list[str]:
    rows = []
    for name, family in ARCHITECTURES.items():
        builder = architecture_builder(name)
        what = (inspect.getdoc(builder) or "").split("\n")[0]
        rows.append(_row(f"`{name}`", str(family.standard_width), _options(builder), what))
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
    for page, text in pages().items():
        (Path(__file__).parent / page).write_text(text)
