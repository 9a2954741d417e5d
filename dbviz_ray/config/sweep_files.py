"""From a sweep's name and `key=value` overrides to a checked `SweepConfig`, or one clear line a mistake."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.registry import nearest
from dbviz_ray.config.validation import absolute, validated
from dbviz_ray.errors import UserError, one_line

SWEEPS = Path(__file__).parent.parent / "sweeps"
"""A link to the folder sweeps/ in a checkout, the folder itself in an installation."""
MOST_FIELDS = 10_000
"""Of one mapping: merge keys of a few hundred bytes may ask for a billion."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number, as YAML 1.2 does and PyYAML (1.1) does not."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge as `<<` asks; a ConstructorError for too many fields."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_FIELDS:
            raise yaml.constructor.ConstructorError(None, None, "its merge keys ask for too many fields")


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def loaded_yaml(content: str | bytes) -> Any:
    """The value that YAML holds. yaml.YAMLError, ValueError or RecursionError if it is none."""
    return yaml.load(content, Loader=_Loader)


def embedded_sweeps() -> dict[str, str]:
    """Name and YAML text of every sweep that ships with the package."""
    return {file.stem: file.read_text("utf-8") for file in sorted(SWEEPS.glob("*.yaml"))}


def load_sweep(name: str, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep called `name` (an included one, or a path to a YAML file) with `key=value` overrides.

    Raises UserError, naming the field, its value and what is allowed.
    """
    is_path = name.endswith((".yaml", ".yml")) or os.sep in name
    sweeps = {} if is_path else embedded_sweeps()
    if not is_path and name not in sweeps:
        allowed = f"{', '.join(sweeps)}, or a path to a .yaml file"
        raise UserError("sweep", name, reason="is unknown", allowed=allowed, hint=nearest(name, list(sweeps)))
    fields = yaml_mapping(Path(name)) if is_path else loaded_yaml(sweeps[name])
    fields.setdefault("name", Path(name).stem if is_path else name)
    dataset = fields.get("dataset")
    if is_path and isinstance(dataset, dict) and isinstance(dataset.get("folder"), str):
        dataset["folder"] = absolute(dataset["folder"], start=Path(name).parent)
    for override in overrides:
        set_field(fields, override)
    return validated(SweepConfig, fields)


def yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. UserError if it cannot be read, or holds anything else."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), reason=f"cannot be read: {one_line(error, with_type=False)}") from None
    fields = _parsed(str(path), text)
    if not isinstance(fields, dict):
        raise UserError(str(path), reason=f"holds {type(fields).__name__}", allowed="a mapping of fields")
    return fields


def _parsed(field: str, text: str) -> Any:
    try:
        return loaded_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(field, reason=f"is not readable as YAML: {one_line(error, with_type=False)}") from None


def set_field(fields: dict[str, Any], override: str) -> None:
    """Set the field that `key=value` names; dots in the key lead into mappings, the value is YAML."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError("override", override, allowed="key=value, such as training.epochs=50")
    *parents, last = key.split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
        if not isinstance(fields, dict):
            raise UserError(key, reason=f"unknown key: {parent} has no fields of its own")
    fields[last] = _parsed(key, text)
