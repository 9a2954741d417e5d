"""The table `images`: how the trainings of a group vote on each image."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..scores.groups import GROUP, Group
from ..scores.trained import Predictions
from ..scores.votes import image_scores, near_best
from .scored import Scored

MOST_ROWS = 2_000_000
"""Groups that would need more rows get none; 200 groups on 10,000 images fit."""
IMAGES = [
    *GROUP, "split", "index", "given_label", "true_label", "n_models", "most_common", "most_common_share", "agreement",
    "conflict_ratio", "share_right", "share_as_given", "ambiguous",
]  # fmt: skip


def images_table(scored: Scored) -> pd.DataFrame:
    """One row for each test image, and each image whose label is false in some training, of every compared group."""
    classes = scored.planes.class_shares.shape[2]
    parts, room = [pd.DataFrame(columns=IMAGES)], MOST_ROWS
    for group in scored.compared:
        rows = pd.concat(_of_group(group, scored.observed.predictions, classes), ignore_index=True)
        room -= len(rows)
        if room < 0:
            break
        parts.append(rows[IMAGES])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _of_group(group: Group, predictions: Predictions, classes: int) -> Iterator[pd.DataFrame]:
    own = group.members
    others, best = near_best(predictions.test_wrong[own])
    given, true = np.broadcast_to(predictions.true_test, predictions.on_test[own].shape), predictions.true[own[0]]
    splits = {"test": (predictions.on_test[own], given, np.ones(given.shape, dtype=bool), predictions.true_test)}
    if (predictions.true[own] == true).all():  # otherwise each training has training images of its own
        splits["train"] = (predictions.on_train[own], predictions.given[own], predictions.false_labels[own], true)
    for split, (on_all, given, counted, true) in splits.items():
        chosen = np.flatnonzero(counted.any(axis=0))
        if not len(chosen):
            continue
        predicted, given, counted, true = on_all[:, chosen], given[:, chosen], counted[:, chosen], true[chosen]
        first = given[counted.argmax(axis=0), np.arange(len(chosen))]
        about = {
            "split": split,
            "index": chosen.astype(np.int32),
            "given_label": np.where(((given == first) | ~counted).all(axis=0), first.astype(np.int64), -1),
            "true_label": true,
            **image_scores(predicted, classes, true, counted),
            "share_as_given": ((predicted == given) & counted).sum(axis=0) / counted.sum(axis=0),
            "ambiguous": (predicted[others] != predicted[best]).any(axis=0),
        }
        yield pd.DataFrame(group.key | about)
