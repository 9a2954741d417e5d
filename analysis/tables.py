"""From the store's label maps and predictions to the tables of scores.

- `models`: one row a model, kept epoch and plane set: errors, fragmentation, where it comes from.
- `pairs`: one row a pair of models and plane set: reproducibility, and agreement on the test images. Every two models
  at their last epochs; at earlier epochs only models of one group.
- `groups`: one row a group (see `analysis.groups`) and plane set, with intervals.
- `between_groups`: one row a pair of groups of equal label noise, at their last epochs, and plane set; of groups that
  differ in their learning rates alone only the best. No rows for a label noise with more than `MAX_GROUPS` groups.
- `by_recipe`, in sweeps of several recipes or architectures: `groups` in the form of the paper's Table 1.
- `distillation`, in sweeps with students: how far they agree with their teachers, and what others do.

Models that diverged are left out of every score, at whatever epoch; `groups` counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.groups import GROUP, group_of, groups_of
from analysis.pairs import between_groups_table, distillation_table, pairs_table
from analysis.recipes import at_best_rate, by_recipe, compares_recipes
from analysis.rows import groups_table, models_table, sharpness_of
from analysis.scores import agreement, plane_scores
from analysis.trained import Trained, read_label_maps, read_predictions, trained_models
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store


class NoModelsError(Exception):
    """Every model of the sweep diverged."""


@dataclass(frozen=True)
class _Section:
    """Models that are compared with one another, each at one of its kept epochs."""

    models: list[Trained]
    epochs: list[int]
    last: bool
    """Whether these are all models at their last epochs, or else one group at an earlier one."""


def tables_of(sweep: SweepConfig) -> tuple[str, ...]:
    """Names of the tables that a sweep has."""
    names = ["models", "pairs", "groups", "between_groups"]
    if compares_recipes(groups_of(sweep)):
        names.append("by_recipe")
    if any(model.teacher for model in sweep.models()):
        names.append("distillation")
    return tuple(names)


def compute_tables(store: Store, sweep: SweepConfig) -> dict[str, pd.DataFrame]:
    """Every table of a sweep whose models are trained and labelled. Raises NoModelsError."""
    everything = trained_models(store, sweep)
    models = [model for model in everything if not model.diverged]
    if not models:
        raise NoModelsError(f"all {len(everything)} models diverged; there is nothing to score")
    parts: dict[str, list[pd.DataFrame]] = {}
    for section in _sections(models):
        for name, table in _tables_of_section(store, sweep, section):
            parts.setdefault(name, []).append(table)
    tables = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    tables["groups"] = _with_diverged(tables["groups"], everything, sweep)
    for name in ("models", "groups"):
        tables[name]["tested_on"] = "held-out" if sweep.dataset.held_out else "test"
    tables["by_recipe"] = by_recipe(tables["groups"])
    return {name: tables[name] for name in tables_of(sweep)}


def write_tables(store: Store, tables: dict[str, pd.DataFrame]) -> None:
    """Store every table as Parquet and CSV."""
    for name, table in tables.items():
        store.write(store.scores_file(name, "csv"), table.to_csv(index=False).encode())
        store.write_parquet(store.scores_file(name), pa.Table.from_pandas(table, preserve_index=False))


def read_table(store: Store, name: str) -> pd.DataFrame:
    """A stored table."""
    table, _ = store.read_parquet(store.scores_file(name))
    return table.to_pandas()  # type: ignore[no-any-return]


def _sections(models: Sequence[Trained]) -> list[_Section]:
    earlier: dict[tuple[object, ...], list[Trained]] = {}
    for model in models:
        for epoch in model.config.training.kept_epochs[:-1]:
            earlier.setdefault((epoch, *group_of(model.config, epoch).values()), []).append(model)
    last = _Section(list(models), [model.config.training.epochs for model in models], last=True)
    return [last, *(_Section(of, [int(str(key[0]))] * len(of), last=False) for key, of in earlier.items())]


def _tables_of_section(store: Store, sweep: SweepConfig, section: _Section) -> list[tuple[str, pd.DataFrame]]:
    configs = [model.config for model in section.models]
    sharpness = np.array(list(map(sharpness_of, section.models, section.epochs)))
    groups = pd.DataFrame([group_of(config, epoch) for config, epoch in zip(configs, section.epochs, strict=True)])
    members = [np.asarray(rows) for rows in groups.groupby(GROUP, sort=False).indices.values()]
    predictions = read_predictions(store, configs, section.epochs)
    on_test = agreement(predictions.on_test[:, None])[0]
    tables: list[tuple[str, pd.DataFrame]] = []
    for plane_set in sweep.planes:
        maps = read_label_maps(store, plane_set, configs, section.epochs)
        scores = plane_scores(maps, sweep.scores)
        of_set = {
            "models": models_table(section.models, groups, predictions, scores),
            "pairs": pairs_table(configs, groups, scores, on_test),
            "groups": groups_table(groups, members, predictions, scores, sharpness),
        }
        if section.last:
            best = set(at_best_rate(of_set["groups"])[GROUP].itertuples(index=False, name=None))
            at_best = [rows for rows in members if tuple(groups.iloc[rows[0]]) in best]
            of_set["between_groups"] = between_groups_table(groups, at_best, scores)
            of_set["distillation"] = distillation_table(configs, groups, members, scores)
        tables.extend((name, table.assign(plane_set=plane_set)) for name, table in of_set.items())
    return tables


def _with_diverged(groups: pd.DataFrame, models: Sequence[Trained], sweep: SweepConfig) -> pd.DataFrame:
    """`groups` in the order of the sweep, with the number of diverged models, and rows for groups of nothing else."""
    diverged = Counter(
        tuple(group_of(model.config, epoch).values())
        for model in models
        for epoch in model.config.training.kept_epochs
        if model.diverged
    )
    plane_sets = pd.DataFrame({"plane_set": list(sweep.planes)})
    full = plane_sets.merge(groups_of(sweep), how="cross").merge(groups, on=["plane_set", *GROUP], how="left")
    full["n_diverged"] = [diverged[key] for key in full[GROUP].itertuples(index=False, name=None)]
    counts = [column for column in full.columns if column.startswith("n_")]
    full[counts] = full[counts].fillna(0).astype(int)
    full["reproducibility_interval_covers"] = full["reproducibility_interval_covers"].fillna("nothing")
    front = [*GROUP, "n_models", "n_diverged"]
    return full[[*front, *(column for column in full.columns if column not in front)]]
