"""The table `images`: how the trainings of a group vote on each image; and how far near-equally good trainings differ.

Everything comes from counts of votes, so that a thousand trainings on ten thousand images need no pairs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbviz_ray.store import Labels

from ..scores.agreement import Integers
from ..scores.groups import GROUP, Group
from ..scores.trained import Predictions
from .scored import Scored

Mask = NDArray[np.bool_]
TOLERANCE = 0.01
"""Trainings whose test error is at most this much above the smallest are near-equally good: one point, as in Marx et
al. 2020, arXiv 1909.06677."""
ROUNDING = 1e-9
MOST_VOTES = 10**7
"""Numbers of votes in memory at a time, one for an image and a class."""
MOST_ROWS = 2_000_000
"""Groups that would need more rows get none; 200 groups on 10,000 images fit."""
IMAGES = [
    *GROUP, "split", "index", "given_label", "true_label", "n_models", "most_common", "most_common_share", "agreement",
    "conflict_ratio", "share_right", "share_as_given", "ambiguous",
]  # fmt: skip
UNCHANGED, CHANGED = "unchanged", "changed"
LOST, WON, OTHERWISE_WRONG = "right to wrong", "wrong to right", "wrong to another wrong"
"""What becomes of an image from one model to another."""


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


def votes_on(predicted: Labels, classes: int, counted: Mask | None = None) -> NDArray[np.int32]:
    """How many models predict each class for an image, `[images, classes]`.

    `predicted` are classes, `[models, images]`; of each model only the images `counted`, `[models, images]`, if given.
    """
    votes = np.zeros((predicted.shape[1], classes), np.int32)
    places = np.arange(len(votes))
    for model, own in enumerate(predicted):
        some = places if counted is None else places[counted[model]]
        votes[some, own[some]] += 1
    return votes


def image_scores(
    predicted: Labels, classes: int, truth: NDArray[np.integer[Any]] | None, counted: Mask | None = None
) -> dict[str, NDArray[Any]]:
    """Scores of images, `[images]` each, from votes (`votes_on`), for some images at a time; `truth` are their classes.

    Of n models with v_c votes for class c, sum_c v_c (v_c - 1) of n (n - 1) ordered pairs agree; the conflict ratio is
    the share of the others. NaN where one model voted.
    """
    images, parts = predicted.shape[1], []
    for start in range(0, images, each := max(1, MOST_VOTES // classes)):
        some = slice(start, start + each)
        votes = votes_on(predicted[:, some], classes, None if counted is None else counted[:, some])
        models = votes.sum(axis=1, dtype=np.int64)
        agreeing = np.einsum("ic,ic->i", votes, votes, dtype=np.int64) - models
        with np.errstate(invalid="ignore"):
            agreement = agreeing / (models * (models - 1))
        found = {
            "n_models": models,
            "most_common": votes.argmax(axis=1),
            "most_common_share": votes.max(axis=1) / models,
            "agreement": agreement,
            "conflict_ratio": 1 - agreement,
        }
        if truth is not None:
            found["share_right"] = votes[np.arange(len(votes)), truth[some]] / models
        parts.append(found)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def near_best(wrong: Mask) -> tuple[Integers, int]:
    """The models near-equally good as the best one, without it, and the best one; `wrong` is `[models, images]`."""
    errors = wrong.mean(axis=1)
    best = int(errors.argmin())
    near = np.flatnonzero(errors <= errors[best] + TOLERANCE + ROUNDING)
    return near[near != best], best


def multiplicity(predicted: Labels, wrong: Mask) -> dict[str, float]:
    """Of the near-equally good models: their number, ambiguity and discrepancy; NaN if there is no other than the best.

    Ambiguity is the share of images on which some of them predicts another class than the best one, discrepancy the
    largest share on which a single one does (Marx et al. 2020, arXiv 1909.06677, and, for probabilities, Watson-Daniels
    et al. 2023, arXiv 2206.01295). Union and maximum grow with the number of models, and say nothing about others.
    """
    others, best = near_best(wrong)
    differs = predicted[others] != predicted[best]
    known = {"ambiguity": differs.any(axis=0).mean(), "discrepancy": differs.mean(axis=1).max()} if len(others) else {}
    return {"n_near_best": 1 + len(others), "ambiguity": np.nan, "discrepancy": np.nan, **known}


def flips(old: Labels, new: Labels, truth: NDArray[np.integer[Any]] | None) -> NDArray[np.str_]:
    """What becomes of each image from an old model's class to a new one's, `[images]`, by the true classes if known."""
    if truth is None:
        return np.where(old == new, UNCHANGED, CHANGED)
    return np.select([old == new, old == truth, new == truth], [UNCHANGED, LOST, WON], OTHERWISE_WRONG)
