"""Groups side by side: the paper's Table 1, and what a grid of learning rates says."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..scores.groups import NETWORK, at_last_epoch, names_of
from .outcomes import LEFT_OUT


def compares_recipes(groups: pd.DataFrame) -> bool:
    """Whether there is more than one architecture or recipe."""
    return bool(groups["architecture"].nunique() > 1 or groups["recipe"].nunique() > 1)


def several_recipes(groups: pd.DataFrame) -> bool:
    """Whether some network is trained with more than one recipe."""
    return bool((groups.groupby(NETWORK)["recipe"].nunique() > 1).any())


def several_rates(groups: pd.DataFrame) -> bool:
    """Whether there are groups that differ in their learning rates alone."""
    return bool((groups.groupby([*NETWORK, "recipe", "label_noise"])["learning_rate"].nunique() > 1).any())


def at_best_rate(groups: pd.DataFrame) -> pd.DataFrame:
    """Of groups that differ in their learning rates alone, at their last epochs, the one with the smallest test error.

    Of equally good rates the smallest; a group without a model is kept only where all rates have none.
    """
    last = at_last_epoch(groups)
    keys = [column for column in ("plane_set", *NETWORK, "label_noise", "recipe") if column in last]
    kept = last.sort_values(["test_error", "learning_rate"]).drop_duplicates(keys).index
    return last.loc[kept.sort_values()].reset_index(drop=True)


def by_recipe(groups: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the paper's Table 1: one row a plane set, network, label noise and recipe.

    Accuracy is 1 - test error. With several learning rates, each row is at the best of them (`at_best_rate`). Scores
    are NaN where no training is left.
    """
    best = at_best_rate(groups)
    same = ["reproducibility", "reproducibility_low", "reproducibility_high"]
    table = best[["plane_set", *NETWORK, "label_noise", "recipe", "learning_rate", *same]].copy()
    accuracy = {"accuracy": "test_error", "accuracy_low": "test_error_high", "accuracy_high": "test_error_low"}
    for column, error in accuracy.items():
        table[column] = 1 - best[error]
    return table.assign(**{column: best[column] for column in ("n_models", *LEFT_OUT)})


def learning_rates(groups: pd.DataFrame) -> list[dict[str, Any]]:
    """For every network, recipe and label noise with several learning rates, what the best one is.

    The best has the smallest test error. `overlapping` are the other rates whose intervals of the error overlap with
    its own; `at_end` tells whether it is the "smallest" or "largest" of the grid, so that a better one may lie outside
    ("" otherwise). A rate of which all models failed is as good as none. Reproducibility is that of the first plane
    set.
    """
    last = at_last_epoch(groups)
    last = last[last["plane_set"] == last["plane_set"].iloc[0]]
    last = last.assign(name=names_of(last, [*NETWORK, "recipe"]))
    found = []
    for _, rates in last.groupby([*NETWORK, "recipe", "label_noise"], sort=False):
        known = rates["n_models"] + rates["n_diverged"] > 0
        rates = rates[known].sort_values("learning_rate").reset_index(drop=True)
        if len(rates) < 2 or not rates["n_models"].any():
            continue
        best = rates.iloc[int(rates["test_error"].idxmin())]
        others = rates[(rates.index != best.name) & (rates["n_models"] > 0)]
        alike = others[
            (others["test_error_low"] <= best["test_error_high"])
            & (others["test_error_high"] >= best["test_error_low"])
        ]
        diverged = rates[rates["n_diverged"] > 0]
        shown = ["name", *NETWORK, "recipe", "label_noise", "learning_rate", "plane_set", "tested_on", "n_models"]
        scores = [f"{score}{end}" for score in ("test_error", "reproducibility") for end in ("", "_low", "_high")]
        found.append(
            {
                **best[[*shown, *scores]].to_dict(),
                "rates": rates["learning_rate"].tolist(),
                "overlapping": alike["learning_rate"].tolist(),
                "diverged": dict(zip(map("{:g}".format, diverged["learning_rate"]), diverged["n_diverged"].tolist(),
                                     strict=True)),
                "at_end": {0: "smallest", len(rates) - 1: "largest"}.get(int(str(best.name)), ""),
            }
        )  # fmt: skip
    return found
