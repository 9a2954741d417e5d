"""If I train this network again, do I get the same model? Decision regions at scale, on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbviz_ray.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `python -m dbviz_ray.sweep --help` needs no torch."""
    if name in __all__:
        from dbviz_ray import comparison

        return getattr(comparison, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
