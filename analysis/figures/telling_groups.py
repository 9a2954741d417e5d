"""Which groups of a sweep are shown where there is no room for all."""

from __future__ import annotations

import pandas as pd

from analysis.curves import EPOCH, WIDTH, curves, evenly, shown_rows
from analysis.groups import at_last_epoch, names_of
from analysis.recipes import at_best_rate, compares_recipes
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

MAX_SHOWN = 6


def shown_groups(store: Store, sweep: SweepConfig) -> tuple[pd.DataFrame, str]:
    """`telling_groups` of a stored sweep, by the first plane set's rows of `groups` with models."""
    groups, differences = (read_table(store, name) for name in ("groups", "differences"))
    of_first = groups["plane_set"] == next(iter(sweep.planes))
    return telling_groups(groups[of_first & (groups["n_models"] > 0)], differences)


def telling_groups(groups: pd.DataFrame, differences: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Groups to be shown, with what to call each in the column `text`, and what they have in common ("" if nothing).

    Where architectures or recipes are compared: at most six, evenly spaced from the most to the least reproducible.
    Else the telling points of the noisiest curve over width, or over epochs. All of the largest label noise.
    """
    noise = groups["label_noise"].max()
    noisiest = groups[groups["label_noise"] == noise]
    for axis in (WIDTH, EPOCH):
        found = curves(noisiest, axis, differences)
        if found and not compares_recipes(groups):
            curve = found[-1]
            shown = shown_rows(curve)
            rows = curve.rows.iloc[list(shown.values())]
            texts = [f"{axis.column} {row}\n({name})" for row, name in zip(rows[axis.column], shown, strict=True)]
            return rows.assign(text=texts), _common(curve.name, noise)
    best = at_best_rate(at_last_epoch(noisiest))
    best = best.assign(text=[name.replace(", ", "\n") for name in names_of(best)])
    chosen = best.sort_values("reproducibility", ascending=False, kind="stable")
    kept = chosen.iloc[evenly(len(chosen), MAX_SHOWN)]
    return kept, _common(best["architecture"].iloc[0] if best["architecture"].nunique() == 1 else "", noise)


def _common(name: str, noise: float) -> str:
    return ", ".join([name] * bool(name) + [f"label noise {noise:g}"] * bool(name or noise))
