"""A quick network of each family of architectures."""

import inspect
from typing import Any

from dbviz_ray.config.registry import ARCHITECTURES, architecture_builder

QUICK = {"layers": 2, "heads": 2, "depth": 10, "dropout": 0.0}


def small(name: str) -> tuple[int, dict[str, Any]]:
    """A 32nd of the standard width, and the quick value of each of these options that the builder has."""
    parameters = inspect.signature(architecture_builder(name)).parameters
    options = {option: value for option, value in QUICK.items() if option in parameters}
    return max(1, ARCHITECTURES[name].standard_width // 32), options


SMALL = {name: small(name) for name in ARCHITECTURES}
