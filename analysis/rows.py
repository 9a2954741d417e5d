"""The tables of single models and of groups, for one plane set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.groups import records
from analysis.intervals import Interval, mean_interval, pair_interval, sample_interval
from analysis.scores import PlaneScores
from analysis.trained import Predictions, Trained

SCORES = ["train_error", "test_error", "reproducibility", "fragmentation", "sharpness"]
NAN = float("nan")
FACTS = ("cohort_id", "stack", "device", "git_commit", "git_dirty", "torch")


def models_table(
    models: Sequence[Trained], groups: pd.DataFrame, predictions: Predictions, scores: PlaneScores
) -> pd.DataFrame:
    """One row a model; `groups` has its group, and every array its scores, at the same place."""
    rows = []
    for index, (model, group) in enumerate(zip(models, records(groups), strict=True)):
        regions = None if scores.regions is None else mean_interval(scores.regions[[index]], bounds=(1, np.inf))
        rows.append(
            {
                "model_id": model.config.model_id,
                **group,
                "teacher": model.config.teacher or "",
                **{f"{stream}_seed": seed for stream, seed in model.config.seeds.model_dump().items()},
                "train_error": predictions.train_wrong[index].mean(),
                "test_error": predictions.test_wrong[index].mean(),
                "fragmentation": regions.value if regions else NAN,
                **_ends("fragmentation", regions),
                "n_planes": scores.planes,
                "sharpness": sharpness_of(model, group["epoch"]),
                **{key: model.facts.get(key) for key in FACTS},
            }
        )
    return pd.DataFrame(rows)


def sharpness_of(model: Trained, epoch: int) -> float:
    """Of the last weights; NaN for those of a snapshot, and where it is not a number."""
    known = model.facts.get("sharpness") if epoch == model.config.training.epochs else None
    return NAN if known is None else float(known)


def groups_table(
    groups: pd.DataFrame,
    members: Sequence[NDArray[np.intp]],
    predictions: Predictions,
    scores: PlaneScores,
    sharpness: NDArray[np.float64],
) -> pd.DataFrame:
    """One row a group; `members` are the places of each group's models in `groups` and in every array.

    Sharpness is `[models]`, NaN where it is not known.
    """
    rows = [
        records(groups.iloc[of_group[:1]])[0] | _group_row(of_group, predictions, scores, sharpness)
        for of_group in members
    ]
    return pd.DataFrame(rows)


def _group_row(
    members: NDArray[np.intp], predictions: Predictions, scores: PlaneScores, sharpness: NDArray[np.float64]
) -> dict[str, Any]:
    intervals = {
        "sharpness": sample_interval(sharpness[members]),
        "train_error": mean_interval(predictions.train_wrong[members].astype(float), bounds=(0, 1)),
        "test_error": mean_interval(predictions.test_wrong[members].astype(float), bounds=(0, 1)),
    }
    if scores.same_points is not None and len(members) > 1:
        intervals["reproducibility"] = pair_interval(scores.same_points[:, members[:, None], members])
    if scores.regions is not None:
        intervals["fragmentation"] = mean_interval(scores.regions[members], bounds=(1, np.inf))
    row: dict[str, Any] = {"n_models": len(members)}
    row |= {score: intervals[score].value if score in intervals else NAN for score in SCORES}
    for score in SCORES:
        row |= _ends(score, intervals.get(score))
    return row | {
        "n_planes": scores.planes,
        "n_train_images": predictions.train_wrong.shape[1],
        "n_test_images": predictions.test_wrong.shape[1],
        "reproducibility_interval_covers": covers_text(intervals.get("reproducibility")),
    }


def covers_text(interval: Interval | None) -> str:
    """What an interval over models and planes is about."""
    return interval.covers.replace("items", "planes") if interval else "nothing"


def _ends(score: str, interval: Interval | None) -> dict[str, float]:
    return {
        f"{score}_low": interval.low if interval else NAN,
        f"{score}_high": interval.high if interval else NAN,
    }
