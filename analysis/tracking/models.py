"""A run for every model: how its training went, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dbviz_ray.config import ModelConfig, Seeds, SweepConfig
from dbviz_ray.store import Store
from dbviz_ray.store.outcomes import Outcome

from ..findings.curves import evenly
from ..scores.groups import KIND, first_planes_at_last_epoch, names_of, records
from .metrics import Metric
from .parts import telling_columns
from .runs import Run
from .words import SWEEP, model_text

POINTS = 40
"""Epochs of a history that are logged at most; the file history.parquet has all."""
HISTORY = ("train_error", "test_error", "train_loss", "test_loss")
FINAL = ("test_error", "train_error", "fragmentation", "largest_region", "margin", "sharpness")
"""Columns of the table `models` that a model's run holds, as of its last epoch."""
SEEDS = [f"{stream}_seed" for stream in Seeds.model_fields]


def model_runs(
    store: Store, sweep: SweepConfig, tables: Mapping[str, pd.DataFrame], parents: Mapping[tuple[Any, ...], str]
) -> list[Run]:
    """A run for each row of the table `outcomes`, below the curve or group that `parents` gives for its `KIND`."""
    outcomes = tables["outcomes"]
    configs = {model.model_id: model for model in sweep.models()}
    scores = {row["model_id"]: row for row in records(first_planes_at_last_epoch(tables["models"]))}
    runs = []
    kinds = names_of(outcomes, telling_columns(outcomes))
    for kind, seed, row in zip(kinds, seed_names(outcomes), records(outcomes), strict=True):
        name = ", ".join(filter(None, (kind, seed)))
        parent = parents.get(tuple(row[column] for column in KIND))
        scored = scores.get(row["model_id"], {})
        final = [(score, scored[score], 0) for score in FINAL if math.isfinite(scored.get(score, math.nan))]
        runs.append(
            Run(
                name=row["model_id"],
                title=name,
                parent=parent or SWEEP,
                description=model_text(name, scored, row, parent, sweep.name),
                params=_params(configs[row["model_id"]]) | {"outcome": row["outcome"]},
                metrics=[*final, *_history(store, row["model_id"])],
                failed=row["outcome"] != Outcome.DONE,
            )
        )
    return runs


def seed_names(outcomes: pd.DataFrame) -> list[str]:
    """What tells the seeds of a model from those of others, a row of the table `outcomes` each.

    One number where all streams that vary have the same one, else the number of each of them.
    """
    varied = [column for column in SEEDS if outcomes[column].nunique() > 1]
    together = all((outcomes[column] == outcomes[varied[0]]).all() for column in varied)
    shown = {varied[0]: "seed"} if varied and together else {column: column.replace("_", " ") for column in varied}
    return [", ".join(f"{name} {row[column]}" for column, name in shown.items()) for row in records(outcomes)]


def _params(model: ModelConfig) -> dict[str, Any]:
    training = model.training
    return {
        "architecture": model.architecture,
        **model.options,
        "width": model.width,
        "label_noise": model.label_noise,
        "recipe": model.recipe,
        "optimizer": training.optimizer,
        "learning_rate": training.learning_rate,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "dataset": model.dataset.name,
        **{f"{stream}_seed": seed for stream, seed in model.seeds.model_dump().items()},
    }


def _history(store: Store, model_id: str) -> list[Metric]:
    """How a training went, at a few epochs, of those at which it was tested if it was; nothing if it did not end."""
    try:
        table = store.read_parquet(store.model_file(model_id, "history.parquet"))[0].to_pandas()
    except FileNotFoundError:
        return []
    tested = table[table["test_error"].notna()]
    shown = tested if len(tested) > 1 else table
    shown = shown.iloc[evenly(len(shown), POINTS)]
    return [
        (f"training/{column}", float(value), int(epoch))
        for column in HISTORY
        for epoch, value in zip(shown["epoch"], shown[column], strict=True)
        if np.isfinite(value)
    ]
