"""The table `outcomes`: how work on each model ended; and which models scores leave out."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dbviz_ray.config import ModelConfig, Seeds
from dbviz_ray.store.models import Failure, Outcome

from ..scores.groups import KIND, group_of
from ..scores.trained import Trained

OUTCOMES = ["model_id", *KIND, *(f"{stream}_seed" for stream in Seeds.model_fields), "outcome", "stage", "reason"]


def outcomes_table(
    models: Sequence[ModelConfig], trained: Sequence[Trained], failures: Mapping[str, Failure]
) -> pd.DataFrame:
    """One row for each model. `stage` and `reason` tell where and why a model was lost; else they are empty."""
    ends = {model.config.model_id: (Outcome.DONE, "", "") for model in trained}
    for model in trained:
        if model.diverged:
            reason = f"its loss is not finite from epoch {model.facts['diverged_epoch']} on"
            ends[model.config.model_id] = (Outcome.DIVERGED, "train", reason)
    ends |= {name: (failure.outcome, failure.stage, failure.reason) for name, failure in failures.items()}
    rows = [
        {
            "model_id": model.model_id,
            **group_of(model, model.training.epochs),
            **{f"{stream}_seed": seed for stream, seed in model.seeds.model_dump().items()},
            **dict(zip(("outcome", "stage", "reason"), ends[model.model_id], strict=True)),
        }
        for model in models
    ]
    return pd.DataFrame(rows, columns=OUTCOMES).astype({"outcome": str, "train_set_seed": "Int64"})


LEFT_OUT = {"n_diverged": "diverged", "n_failed": "failed"}
"""The columns of the table `groups` that count lost models, and what happened to them."""


def lost_models(outcomes: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """The rows of the table `outcomes` that each column of `LEFT_OUT` counts."""
    diverged = outcomes["outcome"] == Outcome.DIVERGED
    return {"n_diverged": diverged, "n_failed": ~diverged & (outcomes["outcome"] != Outcome.DONE)}


def what_happened(counts: Mapping[str, Any]) -> str:
    """`diverged`, `failed`, or `diverged or failed`, from the numbers in the columns `LEFT_OUT`."""
    return " or ".join(what for column, what in LEFT_OUT.items() if counts[column])


class NoModelsError(Exception):
    """No model of the sweep can be scored: all diverged or failed."""

    def __init__(self, outcomes: pd.DataFrame) -> None:
        how = what_happened({column: lost.any() for column, lost in lost_models(outcomes).items()})
        super().__init__(f"all {len(outcomes)} models {how}; there is nothing to score")
        self.outcomes = outcomes
        """The table `outcomes`."""
