"""Whether Python finds the package `analysis` that belongs here, or another one of this common name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dbviz_ray.errors import UserError

HOME = Path(__file__).resolve().parent.parent


def check_own_packages() -> None:
    """UserError if a package in the present folder, where Python looks first, hides ours."""
    found = find_spec("analysis")
    place = Path(found.origin).resolve().parent if found and found.origin else None
    if place is not None and place != HOME / "analysis":
        raise UserError(f"{place} hides the package analysis of dbviz_ray; allowed: to start from another folder")
