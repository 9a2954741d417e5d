"""What a sweep found where it compares kinds of networks and trainings, in one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from ..scores.groups import NETWORK, names_by_group, names_of, records
from ..tables.recipes import at_best_rate
from .sentences import MAX_NAMED, listed, percent, regions_text


def agreement_sentences(groups: pd.DataFrame) -> list[str]:
    """How far two trainings of one kind agree on the first plane set; of several kinds, which agree most and least."""
    best = at_best_rate(groups)
    best = best.assign(name=names_of(best))
    known = best[(best["plane_set"] == groups["plane_set"].iloc[0]) & best["reproducibility"].notna()]
    sentences = []
    for noise, rows in known.groupby("label_noise", sort=False):
        start = f"label noise {noise:g}, {rows['plane_set'].iloc[0]} planes: two trainings"
        most, least = (rows.loc[rows["reproducibility"].idxmax()], rows.loc[rows["reproducibility"].idxmin()])
        agreed = f"{percent(most, 'reproducibility')} of the points"
        sentences.append(
            f"{start} agree most for {most['name']} ({agreed}) and least for {least['name']} "
            f"({percent(least, 'reproducibility')})."
            if len(rows) > 1
            else f"{start} of {most['name']} agree on {agreed}."
        )
    return sentences


def kinds_sentences(groups: pd.DataFrame, between: pd.DataFrame) -> list[str]:
    """Trainings of which two kinds agree most and least on the first plane set, by the table `between_groups`."""
    plane_set = groups["plane_set"].iloc[0]
    best = at_best_rate(groups)
    of_set = between[between["plane_set"] == plane_set]
    sentences = []
    for noise, cells in of_set.groupby("label_noise", sort=False):
        if len(cells) > 1:
            sides = (names_by_group(best, cells, ending=f"_{side}") for side in "ab")
            cells = cells.assign(pair=[" / ".join(names) for names in zip(*sides, strict=True)])
            most, least = (cells.loc[cells["reproducibility"].idxmax()], cells.loc[cells["reproducibility"].idxmin()])
            sentences.append(
                f"label noise {noise:g}, {plane_set} planes: of trainings of different kinds, {most['pair']} agree "
                f"most ({percent(most, 'reproducibility')}), {least['pair']} least "
                f"({percent(least, 'reproducibility')})."
            )
    return sentences


def plane_set_sentences(groups: pd.DataFrame) -> list[str]:
    """Regions and agreement of each kind on every plane set; nothing if there is one, or there are many kinds."""
    best = at_best_rate(groups)
    best = best[best["n_models"] > 0]
    best = best.assign(name=names_of(best))
    kinds = best.groupby(["name", "label_noise"], sort=False)
    if best["plane_set"].nunique() < 2 or kinds.ngroups > MAX_NAMED:
        return []
    sentences = []
    for (name, noise), rows in kinds:
        agreed = _on_each(rows, "reproducibility", percent, " of the points")
        regions = _on_each(rows, "fragmentation", partial(regions_text, digits=2), " regions")
        parts = [
            start + told for start, told in (("two trainings agree on ", agreed), ("a plane has ", regions)) if told
        ]
        sentences.append(f"{name}, label noise {noise:g}, planes of each set: {'; '.join(parts)}.")
    return sentences


def _on_each(rows: pd.DataFrame, score: str, tell: Callable[[dict[str, Any], str], str], unit: str) -> str:
    """A score on each plane set, `95.9% [95.5, 96.3] of the points (test), 78.0% [72.4, 83.6] (noise)`."""
    told = [f"{tell(row, score)}{{}} ({row['plane_set']})" for row in records(rows[rows[score].notna()])]
    return ", ".join(text.format("" if place else unit) for place, text in enumerate(told))


def sharpness_sentences(groups: pd.DataFrame) -> list[str]:
    """What the recipes do to the sharpness of each network that has several; nothing if there is none."""
    best = at_best_rate(groups)
    best = best[(best["plane_set"] == best["plane_set"].iloc[0]) & best["sharpness"].notna()]
    best = best.assign(network=names_of(best, NETWORK))
    sentences = []
    for (network, noise), rows in best.groupby(["network", "label_noise"], sort=False):
        if rows["recipe"].nunique() > 1:
            each = (
                f"{row['recipe']} {row['sharpness']:.2g} [{row['sharpness_low']:.2g}, {row['sharpness_high']:.2g}]"
                for row in records(rows)
            )
            sentences.append(
                f"sharpness of {network}, label noise {noise:g} (the less, the more slowly the loss rises around "
                f"the trained weights): {', '.join(each)}."
            )
    return sentences


def distillation_sentence(row: Mapping[str, Any]) -> str:
    """Whether students resemble their teachers more than undistilled models do."""
    if row["student_agreement_low"] > row["control_agreement_high"]:
        verdict = "distilled students resemble their teachers more"
    elif row["student_agreement_high"] < row["control_agreement_low"]:
        verdict = "distilled students resemble their teachers less"
    else:
        verdict = "no difference beyond the intervals"
    start = " (both start from the same weights)" if row["same_start"] else ""
    return (
        f"label noise {row['label_noise']:g}, {row['plane_set']} planes: students ({row['student']}) agree with their "
        f"own teachers ({row['teacher']}) on {percent(row, 'student_agreement')} of the points{start}, undistilled "
        f"models ({row['control']}) agree with these teachers on {percent(row, 'control_agreement')}: {verdict}."
    )


def rates_sentence(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which best learning rates lie at an end of their grid; nothing if none does."""
    named = [
        f"{row['name']}, label noise {row['label_noise']:g} ({row['learning_rate']:g}, the {row['at_end']})"
        for row in rows
        if row["at_end"]
    ]
    if not named:
        return []
    return [
        "A best learning rate lies at an end of its grid, so that a better one may lie outside; extend the grid: "
        f"{listed(named)}."
    ]


def choice_sentence(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """That learning rates were chosen on test images, if they were."""
    if not any(row["tested_on"] == "test" for row in rows):
        return []
    return [
        "The best learning rates are those with the smallest test error; dataset.held_out would choose them without "
        "the test images."
    ]
