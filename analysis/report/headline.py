"""The few numbers of a sweep that are looked at first."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.groups import names_of, records
from analysis.recipes import at_best_rate

SCORES = {
    "reproducibility": "Two trainings agree on this share of a plane",
    "test_error": "Share of {tested_on} images classified wrongly",
    "fragmentation": "Regions of one class in a plane",
}


def in_short(groups: pd.DataFrame) -> str:
    """What the reproducibility means, in one sentence; empty if it is not known."""
    best = _compared(groups)
    known = best[best["reproducibility"].notna()]
    if known.empty:
        return ""
    worst, best_one = records(known.loc[[known["reproducibility"].idxmin(), known["reproducibility"].idxmax()]])
    if len(known) == 1:
        return (
            f"Trained again, this network predicts another class on about {_others(best_one)} of 100 points of a plane."
        )
    return (
        f"Trained again, a network predicts another class on about {_others(best_one)} of 100 points of a plane at "
        f"best ({_where(best_one, best)}) and on about {_others(worst)} at worst ({_where(worst, best)})."
    )


def headline(groups: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """What each number is, its value or from where to where it goes, and what belongs to it; of the first plane set."""
    best = _compared(groups)
    told = []
    for score, name in SCORES.items():
        known = best[best[score].notna()]
        if known.empty:
            continue
        least, most = records(known.loc[[known[score].idxmin(), known[score].idxmax()]])
        ends = [least] if len(known) == 1 else [least, most]
        value = " to ".join(dict.fromkeys(_value(row, score) for row in ends))
        notes = [f"{_where(row, best)} {_interval(row, score)}".strip() for row in ends]
        told.append((name.format(tested_on=best["tested_on"].iloc[0]), value, notes))
    return told


def _compared(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups of the first plane set, each at its last epoch and best learning rate, with short names.

    Where some trainings predict one class for every image, agreement means nothing: such groups are left out, if there
    are others.
    """
    best = at_best_rate(groups[groups["plane_set"] == groups["plane_set"].iloc[0]])
    best = best.assign(name=_short(names_of(best)))
    telling = best[best["n_constant"] == 0]
    return telling if len(telling) else best


def _others(row: dict[str, Any]) -> str:
    return f"{100 * (1 - row['reproducibility']):.0f}"


def _short(names: list[str]) -> list[str]:
    """The names without a beginning that all of several have in common."""
    beginnings = {name.partition(", ")[0] for name in names}
    shared = len(names) > 1 and len(beginnings) == 1 and all(", " in name for name in names)
    return [name.partition(", ")[2] for name in names] if shared else names


def _value(row: dict[str, Any], score: str) -> str:
    return f"{row[score]:.1f}" if score == "fragmentation" else f"{row[score]:.1%}"


def _interval(row: dict[str, Any], score: str) -> str:
    scale = 1 if score == "fragmentation" else 100
    return f"[{scale * row[f'{score}_low']:.1f},\N{NO-BREAK SPACE}{scale * row[f'{score}_high']:.1f}]"


def _where(row: dict[str, Any], groups: pd.DataFrame) -> str:
    noise = f", label noise {row['label_noise']:g}" if groups["label_noise"].nunique() > 1 else ""
    return f"{row['name']}{noise}"
