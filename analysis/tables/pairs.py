"""The table `pairs`: one row a pair of models and plane set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dbviz_ray.config import ModelConfig

from ..scores.agreement import Floats, agreement, beyond_accuracy, cohens_kappa
from ..scores.groups import Group
from ..scores.plane_scores import PlaneScores
from ..scores.trained import Predictions


def pairs_table(
    models: Sequence[ModelConfig],
    epochs: Sequence[int],
    groups: Sequence[Group],
    predictions: Predictions,
    planes: PlaneScores,
) -> pd.DataFrame:
    """Every two models, which are at the same places in all arrays.

    `agreement_beyond_accuracy`: agreement on the test images beyond what their errors explain (see
    `dbviz_ray.analysis.scores.agreement`).
    """
    first, second = np.triu_indices(len(models), 1)
    ids = np.array([model.model_id for model in models])
    teachers = np.array([model.teacher or "" for model in models])
    number = np.empty(len(models), dtype=int)
    for index, group in enumerate(groups):
        number[group.members] = index
    columns = {
        "model_a": ids[first],
        "model_b": ids[second],
        "epoch_a": np.array(epochs)[first],
        "epoch_b": np.array(epochs)[second],
        "same_group": number[first] == number[second],
        "student_and_teacher": (teachers[first] == ids[second]) | (teachers[second] == ids[first]),
    }
    matrices: dict[str, Floats | None] = dict.fromkeys(("reproducibility", "kappa", "soft_agreement"))
    if planes.same_points is not None:
        same, shares = planes.same_points.by_pair, planes.class_shares.mean(axis=1, dtype=float, keepdims=True)
        matrices |= {"reproducibility": same, "kappa": cohens_kappa(same, shares)}
    if planes.soft_agreement is not None:
        matrices["soft_agreement"] = planes.soft_agreement.by_pair
    on_test, classes = agreement(predictions.on_test[:, None])[0], planes.class_shares.shape[2]
    matrices["agreement_on_test_images"] = on_test
    matrices["agreement_beyond_accuracy"] = beyond_accuracy(on_test, predictions.test_wrong, classes)
    of_pairs = {name: np.nan if matrix is None else matrix[first, second] for name, matrix in matrices.items()}
    return pd.DataFrame({**columns, **of_pairs, "n_planes": planes.planes})
