"""If I train this network again, do I get the same model? Decision regions at scale, on Ray."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbviz_ray.analysis.compare.comparison import Comparison, compare
    from dbviz_ray.analysis.notebook import Run, load_run, plot_curve, plot_matrix, plot_regions
    from dbviz_ray.errors import UserError

__all__ = ["Comparison", "Run", "UserError", "compare", "load_run", "plot_curve", "plot_matrix", "plot_regions"]

_MODULES = dict.fromkeys(__all__, "dbviz_ray.analysis.notebook") | {
    "Comparison": "dbviz_ray.analysis.compare.comparison",
    "UserError": "dbviz_ray.errors",
    "compare": "dbviz_ray.analysis.compare.comparison",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that a command's --help needs no torch, and looking at a run needs none either."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
