"""How models vote on items, and how far near-equally good models differ: arrays in, numbers out.

Everything comes from counts of votes, so that a thousand models on ten thousand items need no pairs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels

from .agreement import Integers

Mask = NDArray[np.bool_]
TOLERANCE = 0.01
"""Trainings whose test error is at most this much above the smallest are near-equally good: one point, as in Marx et
al. 2020, arXiv 1909.06677."""
ROUNDING = 1e-9
MOST_VOTES = 10**7
"""Numbers of votes in memory at a time, one for an image and a class."""
UNCHANGED, CHANGED = "unchanged", "changed"
LOST, WON, OTHERWISE_WRONG = "right to wrong", "wrong to right", "wrong to another wrong"
"""What becomes of an image from one model to another."""


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
