"""docs/configuration.md is what the types say."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from dbviz_ray import config
from dbviz_ray.config.reference import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
GROUPS = [getattr(config, name) for name in config.__all__ if name.endswith("Config") and name != "ModelConfig"]


def test_the_page_is_what_is_generated():
    assert PAGE.read_text() == f"{reference()}\n", "run python -m dbviz_ray.config.reference > docs/configuration.md"


@pytest.mark.parametrize("group", GROUPS)
def test_every_field_is_described(group: type[BaseModel]):
    assert not [name for name, field in group.model_fields.items() if not field.description]
    assert f"\n{(group.__doc__ or '').strip().splitlines()[0]}" in reference()
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    for name, field in group.model_fields.items():
        assert [row for row in rows if row.startswith(f"| `{name}` ") and field.description.replace("|", "\\|") in row]
