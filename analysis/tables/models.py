"""The table `models`: one row a model, kept epoch and plane set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..scores.group_scores import SCORES, Observed
from ..scores.groups import group_of
from ..scores.plane_scores import REGION_SCORES, PlaneScores
from ..scores.trained import Trained
from ..statistics.estimates import mean_estimate
from ..statistics.intervals import interval_of
from .files import NAN, value_and_ends

FACTS = ("cohort_id", "stack", "device", "git_commit", "git_dirty", "torch")


def models_table(
    models: Sequence[Trained], epochs: Sequence[int], observed: Observed, planes: PlaneScores
) -> pd.DataFrame:
    """One row a model; its scores have the same place in every array. Intervals are over planes.

    `predicted_classes` counts the classes that a model predicts for any test image: 1 is a collapsed model, which
    agrees with its like whatever it has learned.
    """
    predictions = observed.predictions
    rows = []
    for index, (model, epoch) in enumerate(zip(models, epochs, strict=True)):
        row: dict[str, Any] = {
            "model_id": model.config.model_id,
            **group_of(model.config, epoch),
            "teacher": model.config.teacher or "",
            **{f"{stream}_seed": seed for stream, seed in model.config.seeds.model_dump().items()},
            "train_error": predictions.train_wrong[index].mean(),
            "test_error": predictions.test_wrong[index].mean(),
            "predicted_classes": len(np.unique(predictions.on_test[index])),
        }
        for name in REGION_SCORES:
            values = planes.regions.get(name)
            known = None if values is None else interval_of(mean_estimate(values[[index]]), SCORES[name])
            row |= value_and_ends(name, known)
        row["margin"] = NAN if observed.margins is None else observed.margins.mean_distance[index].mean()
        row |= {"sharpness": observed.sharpness[index], "n_planes": planes.planes}
        rows.append(row | {key: model.facts.get(key) for key in FACTS})
    return pd.DataFrame(rows)
