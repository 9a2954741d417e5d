"""The tables of a comparison: with every number, as data frames, and as few cells that people read."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..statistics.intervals import Interval
from .scores import Scores

Rows = list[list[str]]


def models_frame(scores: Scores) -> pd.DataFrame:
    """One row a model."""
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
    """One row a pair, old before new."""
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
    """A head and one row a model."""
    head = ["", "error", "regions a plane", "largest region"]
    return [head] + [
        [model.name, shown(model.error), shown(model.regions, 2), shown(model.largest_share)] for model in scores.models
    ]


def plane_rows(scores: Scores) -> Rows:
    """A head and one row a pair: what the planes tell."""
    head = ["old, new", "reproducibility", "Cohen's kappa", "regions, new - old", _p_head(scores)]
    return [head] + [
        [
            f"{pair.old}, {pair.new}",
            shown(pair.reproducibility),
            shown(pair.kappa),
            shown(pair.regions_change, 2, signed=True),
            p_text(pair.regions_p_holm),
        ]
        for pair in scores.pairs
    ]


def image_rows(scores: Scores) -> Rows:
    """A head and one row a pair: what the images tell."""
    head = ["old, new", "churn", "wins", "losses", _p_head(scores), "beyond accuracy (CAPA)"]
    return [head] + [
        [
            f"{pair.old}, {pair.new}",
            *(shown(share) for share in (pair.on_images.churn, pair.on_images.wins, pair.on_images.losses)),
            p_text(pair.accuracy_p_holm),
            shown(pair.capa),
        ]
        for pair in scores.pairs
    ]


def shown(interval: Interval, digits: int = 3, signed: bool = False) -> str:
    """`0.873 [0.861, 0.885]`, or a dash for what is not defined; without the bracket where nothing varied."""
    if math.isnan(interval.value):
        return "-"
    value, low, high = (decimals(end, digits, signed) for end in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]" if is_telling(interval) else value


def is_telling(interval: Interval) -> bool:
    """Whether an interval has a width: one of items that are all alike tells nothing of others."""
    return interval.high - interval.low > 1e-9


def decimals(value: float, digits: int, signed: bool = False) -> str:
    """A number without the sign of a zero below it."""
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def p_text(value: float) -> str:
    """`0.034`, or `< 0.001`; a dash where nothing is known."""
    if math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _p_head(scores: Scores) -> str:
    return "p (Holm)" if len(scores.pairs) > 1 else "p"


def _columns(score: str, interval: Interval) -> dict[str, Any]:
    return {score: interval.value, f"{score}_low": interval.low, f"{score}_high": interval.high}
