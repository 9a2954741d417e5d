"""The tables of a comparison: data frames with every number, and short rows for people."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dbviz_ray.formatting import Cell, interval_cell, p_text

from ..statistics.intervals import Interval
from .scores import Scores

Rows = list[list[str | Cell]]


def models_frame(scores: Scores) -> pd.DataFrame:
    """A row for each model."""
    return pd.DataFrame(
        {
            "model": model.name,
            **_columns("error", model.error),
            **_columns("regions", model.regions),
            **_columns("largest_region_share", model.largest_share),
            "classes_predicted": model.classes_predicted,
            "n_images": scores.images,
            "n_planes": scores.shape[0],
        }
        for model in scores.models
    )


def pairs_frame(scores: Scores) -> pd.DataFrame:
    """A row for each pair, the old model before the new one."""
    return pd.DataFrame(
        {
            "old": pair.old,
            "new": pair.new,
            **_columns("reproducibility", pair.reproducibility),
            **_columns("kappa", pair.kappa),
            "agreement_on_images": pair.agreement_on_images,
            **_columns("churn", pair.on_images.churn),
            **_columns("wins", pair.on_images.wins),
            **_columns("losses", pair.on_images.losses),
            **_columns("accuracy_change", pair.accuracy_change),
            "mcnemar_p": pair.on_images.p_value,
            "mcnemar_p_holm": pair.accuracy_p_holm,
            **_columns("capa", pair.capa),
            **_columns("regions_change", pair.regions_change),
            "regions_p": pair.regions_p,
            "regions_p_holm": pair.regions_p_holm,
            "n_images": scores.images,
            "n_planes": scores.shape[0],
        }
        for pair in scores.pairs
    )


def model_rows(scores: Scores) -> Rows:
    """A head, and a row for each model."""
    rows: Rows = [["", "error", "regions a plane", "largest region"]]
    for model in scores.models:
        rows.append([model.name, cell(model.error), cell(model.regions, 2), cell(model.largest_share)])
    return rows


def plane_rows(scores: Scores) -> Rows:
    """A head, and for each pair a row of its scores on planes."""
    rows: Rows = [["old, new", "reproducibility", "Cohen's kappa", "regions, new - old", _p_head(scores)]]
    for pair in scores.pairs:
        regions = cell(pair.regions_change, 2, signed=True)
        shares = [cell(pair.reproducibility), cell(pair.kappa)]
        rows.append([f"{pair.old}, {pair.new}", *shares, regions, p_text(pair.regions_p_holm)])
    return rows


def image_rows(scores: Scores) -> Rows:
    """A head, and for each pair a row of its scores on images."""
    rows: Rows = [["old, new", "churn", "wins", "losses", _p_head(scores), "beyond accuracy (CAPA)"]]
    for pair in scores.pairs:
        shares = [cell(share) for share in (pair.on_images.churn, pair.on_images.wins, pair.on_images.losses)]
        rows.append([f"{pair.old}, {pair.new}", *shares, p_text(pair.accuracy_p_holm), cell(pair.capa)])
    return rows


def cell(interval: Interval, digits: int = 3, *, signed: bool = False) -> Cell:
    """An interval as a cell of a table."""
    return interval_cell(interval.value, interval.low, interval.high, digits, signed=signed)


def _p_head(scores: Scores) -> str:
    return "p (Holm)" if len(scores.pairs) > 1 else "p"


def _columns(score: str, interval: Interval) -> dict[str, Any]:
    return {score: interval.value, f"{score}_low": interval.low, f"{score}_high": interval.high}
