"""The words of figures: titles, counts, and what captions say."""

import pandas as pd

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.registry import CALLED

from ..scores.groups import first_planes_at_last_epoch, learned
from ..tables.outcomes import LEFT_OUT
from ..tables.recipes import several_rates
from . import FIGURES

LABELS = {
    "test_error": "error",
    "false_labels_learned": "false labels learned",
    "fragmentation": "regions per plane",
    "large_regions": "large regions per plane",
    "reproducibility": "reproducibility",
    "margin": "distance to the boundary",
}
"""Of scores on axes."""


def title_of(name: str, sweep: SweepConfig, *common: str) -> str:
    """The title of the figure `name`: what is seen and, in a second line, what everything shown has in common."""
    seen = f"{FIGURES[name].title}, on {CALLED.get(sweep.dataset.name, sweep.dataset.name)}"
    return "\n".join(filter(None, [seen, ", ".join(filter(None, common))]))


def range_text(values: "pd.Series[int]") -> str:
    """Such as "3" or "2 to 4"."""
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"


def counts_text(groups: pd.DataFrame, each: str, *, images: bool = False) -> str:
    """What values are means over, such as "3 trainings a point, 6 planes"; from rows of `groups`."""
    left = groups[groups["n_models"] > 0]
    tested = f", {left['n_test_images'].iloc[0]} images" * images
    return f"{range_text(left['n_models'])} trainings {each}, {left['n_planes'].iloc[0]} planes{tested}"


def rates_note(groups: pd.DataFrame) -> str:
    """Says, if there are several learning rates, that only the best are shown."""
    return "; each at its best learning rate" * several_rates(groups)


def part_of(drawn: int, found: int, things: str) -> str:
    """The start of a caption if not everything is drawn, such as "4 of 9 curves; "."""
    return f"{drawn} of {found} {things}; " if drawn < found else ""


def unlearned_note(groups: pd.DataFrame, otherwise: str) -> str:
    """Says what became of groups with a training that predicts one class for every image; empty if there are none."""
    return f"; {otherwise}" * (len(learned(groups)) < len(groups))


FRAME = "axes fit the points whose trainings all predict several classes; others may lie beyond the frame"
"""What becomes of the others where there are axes."""


def left_out_note(groups: pd.DataFrame) -> str:
    """The last line of a caption: how many trainings are left out, and why; empty if none are."""
    counts = first_planes_at_last_epoch(groups)[list(LEFT_OUT)].sum()
    parts = [f"{counts[column]} {what}" for column, what in LEFT_OUT.items() if counts[column]]
    return f";\n{' and '.join(parts)} trainings are left out" if parts else ""
