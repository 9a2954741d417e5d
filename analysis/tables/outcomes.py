"""The table `outcomes`: how work on each model ended; and which models scores leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dbviz_ray.config import ModelConfig, Seeds, SweepConfig
from dbviz_ray.store import Store
from dbviz_ray.store.models import Failure, Outcome

from ..scores.groups import KIND, group_of
from ..scores.trained import Trained, trained_models

OUTCOMES = ["model_id", *KIND, *(f"{stream}_seed" for stream in Seeds.model_fields), "outcome", "stage", "reason"]


def stored_outcomes(store: Store, sweep: SweepConfig) -> pd.DataFrame:
    """The table of a sweep whose models are all trained or failed."""
    failures = store.failures()
    return outcomes_table(sweep.models(), trained_models(store, sweep, failures), failures)


def outcomes_table(
    models: Sequence[ModelConfig], trained: Sequence[Trained], failures: Mapping[str, Failure]
) -> pd.DataFrame:
    """One row for each model. `stage` and `reason` tell where and why a model was lost; else they are empty."""
    ends = {model.config.model_id: _end(model) for model in trained}
    ends |= {name: (failure.outcome, failure.stage, failure.reason) for name, failure in failures.items()}
    rows = [_about(model) | dict(zip(OUTCOMES[-3:], ends[model.model_id], strict=True)) for model in models]
    return pd.DataFrame(rows, columns=OUTCOMES).astype({"outcome": str})


def _end(model: Trained) -> tuple[Outcome, str, str]:
    if model.diverged:
        return Outcome.DIVERGED, "train", f"its loss is not finite from epoch {model.facts['diverged_epoch']} on"
    return Outcome.DONE, "", ""


def _about(model: ModelConfig) -> dict[str, Any]:
    group = group_of(model, model.training.epochs)
    seeds = {f"{stream}_seed": seed for stream, seed in model.seeds.model_dump().items()}
    return {"model_id": model.model_id, **{column: group[column] for column in KIND}, **seeds}


LEFT_OUT = {"n_diverged": "diverged", "n_failed": "failed"}
"""The columns of the table `groups` that count lost models, and what happened to them."""


def lost_models(outcomes: pd.DataFrame) -> dict[str, pd.Series[bool]]:
    """The rows of the table `outcomes` that each column of `LEFT_OUT` counts."""
    diverged = outcomes["outcome"] == Outcome.DIVERGED
    return {"n_diverged": diverged, "n_failed": ~diverged & (outcomes["outcome"] != Outcome.DONE)}


def what_happened(counts: Mapping[str, Any]) -> str:
    """`diverged`, `failed`, or `diverged or failed`, from the numbers in the columns `LEFT_OUT`."""
    return " or ".join(what for column, what in LEFT_OUT.items() if counts[column])
