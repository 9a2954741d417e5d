"""The paper's Table 1, and the best of several learning rates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..scores.groups import NETWORK, at_last_epoch, records
from .outcomes import LEFT_OUT
from .pairs import difference_of
from .scored import SIGNIFICANT, columns_of


def compares_recipes(groups: pd.DataFrame) -> bool:
    """Whether there is more than one architecture or recipe."""
    return bool(groups["architecture"].nunique() > 1 or groups["recipe"].nunique() > 1)


def several_recipes(groups: pd.DataFrame) -> bool:
    """Whether some network is trained with more than one recipe."""
    return bool((groups.groupby(NETWORK)["recipe"].nunique() > 1).any())


def several_rates(groups: pd.DataFrame) -> bool:
    """Whether some groups differ only in their learning rates."""
    return bool((groups.groupby([*NETWORK, "recipe", "label_noise"])["learning_rate"].nunique() > 1).any())


def at_best_rate(groups: pd.DataFrame) -> pd.DataFrame:
    """Groups at their last epochs; of those that differ only in their learning rates, that with the lowest error.

    Among equally good rates the smallest wins. A group without a model is kept only if no rate has one.
    """
    last = at_last_epoch(groups)
    keys = [column for column in ("plane_set", *NETWORK, "label_noise", "recipe") if column in last]
    kept = last.sort_values(["test_error", "learning_rate"]).drop_duplicates(keys).index
    return last.loc[kept.sort_values()].reset_index(drop=True)


def by_recipe(groups: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the paper's Table 1: one row a plane set, network, label noise and recipe (`at_best_rate`)."""
    scores = columns_of("reproducibility", "accuracy")
    columns = ["plane_set", *NETWORK, "label_noise", "recipe", "learning_rate", *scores, "n_models", *LEFT_OUT]
    return with_accuracy(at_best_rate(groups))[columns]


def with_accuracy(groups: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns of the accuracy, 1 - test error, and its interval."""
    ends = {"accuracy": "test_error", "accuracy_low": "test_error_high", "accuracy_high": "test_error_low"}
    return groups.assign(**{column: 1 - groups[error] for column, error in ends.items()})


@dataclass(frozen=True)
class BestRate:
    """The best of several learning rates of one network, recipe and label noise."""

    best: dict[str, Any]
    """Its row of `groups`."""
    alike: list[dict[str, Any]]
    """The rows of other rates, ascending, whose test error may differ from that of the best by chance."""
    at_end: str
    """ "smallest" or "largest" if it is that of its grid, so that a better one may lie outside; else ""."""


def best_rates(groups: pd.DataFrame, differences: pd.DataFrame) -> list[BestRate]:
    """Of every network, recipe and label noise with several learning rates: the one with the smallest test error.

    A rate whose models all failed does not count as tried; one whose models all diverged does. Rates differ beyond
    chance if the corrected p-value of `differences` says so: it allows for the choice of the best.
    """
    last = at_last_epoch(groups[groups["plane_set"] == groups["plane_set"].iloc[0]])
    found = []
    for _, rates in last.groupby([*NETWORK, "recipe", "label_noise"], sort=False):
        rates = rates[rates["n_models"] + rates["n_diverged"] > 0].sort_values("learning_rate", ignore_index=True)
        if len(rates) < 2 or not rates["n_models"].any():
            continue
        place = int(np.nanargmin(rates["test_error"]))
        best = records(rates)[place]
        others = [rate for rate in records(rates[rates.index != place]) if rate["n_models"]]
        p_values = (difference_of(differences, "test_error", best, rate).get("p_value_holm", 1) for rate in others)
        alike = [rate for rate, p in zip(others, p_values, strict=True) if not p < SIGNIFICANT]  # or NaN
        at_end = {0: "smallest", len(rates) - 1: "largest"}.get(place, "")
        found.append(BestRate(best, alike, at_end))
    return found
