"""Every table of a sweep, section by section and plane set by plane set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.store import Store

from ..scores.group_scores import (
    Observed,
    group_estimates,
    image_estimates,
    independent_pairs,
    plane_estimates,
    within,
)
from ..scores.groups import GROUP, KIND, Group, group_of, groups_among, groups_of
from ..scores.pair_means import PairSet
from ..scores.plane_scores import score_planes
from ..scores.trained import Predictions, Trained, read_margins, read_predictions, stored_planes, trained_models
from ..statistics.estimates import Estimate
from .between_groups import between_groups_table, between_sets
from .differences import differences_table
from .distillation import distillation_sets, distillation_table
from .files import NAN
from .groups import groups_table
from .margins import margins_table
from .models import models_table
from .outcomes import lost_models, outcomes_table, what_happened
from .pairs import pairs_table
from .recipes import at_best_rate, by_recipe, compares_recipes
from .resolution import resolution_table
from .streams import stream_sets, streams_table, varies_streams
from .uncertainty import uncertainty_table


class NoModelsError(Exception):
    """No model of the sweep can be scored: each diverged or failed."""

    def __init__(self, outcomes: pd.DataFrame) -> None:
        how = what_happened({column: lost.any() for column, lost in lost_models(outcomes).items()})
        super().__init__(f"all {len(outcomes)} models {how}; there is nothing to score")
        self.outcomes = outcomes
        """The table `outcomes`."""


@dataclass(frozen=True)
class _Section:
    """Models that are compared with one another, each at one of its kept epochs."""

    models: list[Trained]
    epochs: list[int]
    last: bool
    """Whether these are all models at their last epochs, or else one group at an earlier one."""

    @property
    def configs(self) -> list[ModelConfig]:
        return [model.config for model in self.models]

    @cached_property
    def groups(self) -> list[Group]:
        return groups_among(self.configs, self.epochs)

    @property
    def sharpness(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of last weights; NaN for those of a snapshot, and where it is not a number."""
        known = [model.facts.get("sharpness") if self.last else None for model in self.models]
        return np.array([NAN if value is None else float(value) for value in known])

    def compared_groups(self, predictions: Predictions) -> list[Group]:
        """The groups that are compared with one another: at the last epoch, each at its best learning rate."""
        if not self.last:
            return []
        errors = [{**group.key, "test_error": predictions.test_wrong[group.members].mean()} for group in self.groups]
        best = set(at_best_rate(pd.DataFrame(errors))[GROUP].itertuples(index=False, name=None))
        return [group for group in self.groups if tuple(group.key.values()) in best]


def tables_of(sweep: SweepConfig) -> tuple[str, ...]:
    """Names of the tables that a sweep has."""
    models = sweep.models()
    wanted = {
        "margins": sweep.margins is not None,
        "streams": any(varies_streams(group) for group in groups_among(models, [m.training.epochs for m in models])),
        "by_recipe": compares_recipes(groups_of(sweep)),
        "distillation": any(model.teacher for model in models),
    }
    scores = ("models", "pairs", "groups", "between_groups", "differences", "resolution", "uncertainty")
    return ("outcomes", *scores, *(name for name, asked_for in wanted.items() if asked_for))


def compute_tables(store: Store, sweep: SweepConfig) -> dict[str, pd.DataFrame]:
    """Every table of a sweep whose models are trained and labelled, but for those that have a failure.

    Raises NoModelsError.
    """
    failures = store.failures()
    trained = trained_models(store, sweep, failures)
    outcomes = outcomes_table(sweep.models(), trained, failures)
    models = [model for model in trained if not model.diverged]
    if not models:
        raise NoModelsError(outcomes)
    parts: dict[str, list[pd.DataFrame]] = {}
    for section in _sections(models):
        for name, table in _tables_of_section(store, sweep, section):
            parts.setdefault(name, []).append(table)
    tables = {name: _joined(part) for name, part in parts.items()}
    tables["outcomes"] = outcomes
    tables["groups"] = _with_left_out(tables["groups"], outcomes, sweep)
    for name in ("models", "groups"):
        tables[name]["tested_on"] = "held-out" if sweep.dataset.held_out else "test"
    tables["by_recipe"] = by_recipe(tables["groups"])
    return {name: tables[name] for name in tables_of(sweep)}


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _sections(models: Sequence[Trained]) -> list[_Section]:
    earlier: dict[tuple[object, ...], list[Trained]] = {}
    for model in models:
        for epoch in model.config.training.kept_epochs[:-1]:
            earlier.setdefault((epoch, *group_of(model.config, epoch).values()), []).append(model)
    last = _Section(list(models), [model.config.training.epochs for model in models], last=True)
    return [last, *(_Section(of, [int(str(key[0]))] * len(of), last=False) for key, of in earlier.items())]


def _tables_of_section(store: Store, sweep: SweepConfig, section: _Section) -> list[tuple[str, pd.DataFrame]]:
    configs, epochs, groups = section.configs, section.epochs, section.groups
    predictions = read_predictions(store, configs, epochs)
    margins = read_margins(store, sweep, configs, epochs, predictions)
    compared = section.compared_groups(predictions)
    sets: dict[Hashable, PairSet] = {
        within(group): independent_pairs(group) for group in groups if len(group.members) > 1
    }
    sets |= between_sets(compared) | stream_sets(groups) | distillation_sets(configs, groups)
    tables = [("margins", margins_table(groups, margins))]
    observed = Observed(predictions, section.sharpness, margins)
    of_images: dict[Group, dict[str, Estimate]] = {}
    for plane_set in sweep.planes:
        stored = stored_planes(store, sweep, plane_set, configs, epochs)
        planes = score_planes(stored, frozenset(sweep.scores), sets, sweep.minimum_region_share)
        of_images = of_images or {group: image_estimates(group, observed, stored.classes) for group in groups}
        estimates = {group: group_estimates(of_images[group], plane_estimates(group, planes)) for group in groups}
        of_set = {
            "models": models_table(section.models, epochs, observed, planes),
            "pairs": pairs_table(configs, epochs, groups, predictions, planes),
            "groups": groups_table(groups, estimates, observed, planes),
            "between_groups": between_groups_table(compared, planes),
            "differences": differences_table(compared, estimates, margins),
            "resolution": resolution_table(groups, planes),
            "uncertainty": uncertainty_table(groups, estimates),
            "streams": streams_table(groups, planes),
            "distillation": distillation_table(configs, groups, planes),
        }
        tables.extend((name, table.assign(plane_set=plane_set)) for name, table in of_set.items())
    return tables


def _with_left_out(groups: pd.DataFrame, outcomes: pd.DataFrame, sweep: SweepConfig) -> pd.DataFrame:
    """`groups` in the order of the sweep, with counts of models that are left out, and rows for groups of no others."""
    plane_sets = pd.DataFrame({"plane_set": list(sweep.planes)})
    full = plane_sets.merge(groups_of(sweep), how="cross").merge(groups, on=["plane_set", *GROUP], how="left")
    lost = lost_models(outcomes)
    for column, rows in lost.items():
        numbers = Counter(outcomes.loc[rows, KIND].itertuples(index=False, name=None))
        full[column] = [numbers[kind] for kind in full[KIND].itertuples(index=False, name=None)]
    counts = [column for column in full.columns if column.startswith("n_")]
    full[counts] = full[counts].fillna(0).astype(int)
    full["reproducibility_interval_covers"] = full["reproducibility_interval_covers"].fillna("nothing")
    front = [*GROUP, "n_models", *lost]
    return full[[*front, *(column for column in full.columns if column not in front)]]
