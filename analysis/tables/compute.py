"""Computes every table of a sweep, section by section and plane set by plane set; writes and reads tables."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store
from dbviz_ray.store.layout import SCORES

from ..scores.group_scores import SCORES as BOUNDS
from ..scores.group_scores import Observed, image_estimates, plane_estimates
from ..scores.groups import GROUP, KIND, Group, group_of, groups_among, groups_of
from ..scores.plane_scores import Over, PlaneScores, in_turn, score_planes
from ..scores.trained import Trained, read_margins, read_predictions, stored_planes, trained_models
from ..statistics.estimates import Estimate
from .distillation import distillation_sets, distillation_table
from .groups import groups_table, margins_table, models_table, peaks_table, resolution_table, uncertainty_table
from .images import images_table
from .outcomes import NoModelsError, lost_models, outcomes_table
from .pairs import between_groups_table, between_sets, differences_table, pairs_table
from .recipes import at_best_rate, by_recipe, compares_recipes
from .scored import Scored
from .streams import stream_sets, streams_table

Tables = Mapping[str, pd.DataFrame]


def _varies_streams(sweep: SweepConfig) -> bool:
    models = sweep.models()
    groups = groups_among(models, [model.training.epochs for model in models])
    return any(len(group.streams) > 1 for group in groups)


@dataclass(frozen=True)
class TableEntry:
    """A table: how it is computed, and which sweeps have it."""

    compute: Callable[[Scored], pd.DataFrame | Iterator[pd.DataFrame]]
    """The rows, or parts of them."""
    applies: Callable[[SweepConfig], bool] = lambda sweep: True
    of_planes: bool = True
    """Whether it has rows for every plane set; if not, it is computed from images alone."""
    csv: bool = True
    """Whether it is stored as CSV too; a row for each image or pair makes hundred thousands."""


TABLES = {
    "models": TableEntry(models_table),
    "pairs": TableEntry(pairs_table, csv=False),
    "groups": TableEntry(groups_table),
    "between_groups": TableEntry(between_groups_table),
    "differences": TableEntry(differences_table),
    "peaks": TableEntry(peaks_table),
    "resolution": TableEntry(resolution_table),
    "uncertainty": TableEntry(uncertainty_table),
    "images": TableEntry(images_table, of_planes=False, csv=False),
    "margins": TableEntry(margins_table, lambda sweep: sweep.margins is not None, of_planes=False),
    "streams": TableEntry(streams_table, _varies_streams),
    "distillation": TableEntry(distillation_table, lambda sweep: any(model.teacher for model in sweep.models())),
}
"""The tables computed from scores. The others, `outcomes` and `by_recipe`, come from models and from `groups`."""


def tables_of(sweep: SweepConfig) -> tuple[str, ...]:
    """Names of the tables that a sweep has."""
    by_recipe = ["by_recipe"] * compares_recipes(groups_of(sweep))
    return ("outcomes", *(name for name, entry in TABLES.items() if entry.applies(sweep)), *by_recipe)


MOST_ROWS = 2**19
"""Rows in a file of `pairs`: of 1,024 trainings, or 50 MB."""


def compute_tables(
    store: Store, sweep: SweepConfig, keep: Callable[[pd.DataFrame], None] | None = None, over: Over = map
) -> Tables:
    """Every table of a sweep. All its models are trained and labelled, except those with a failure.

    `over` scores blocks of planes. `keep` takes `MOST_ROWS` rows of `pairs` whenever there are so many; the table then
    holds the others. Raises NoModelsError.
    """
    failures = store.failures()
    trained = trained_models(store, sweep, failures)
    outcomes = outcomes_table(sweep.models(), trained, failures)
    models = [model for model in trained if not model.diverged]
    if not models:
        raise NoModelsError(outcomes)
    names = tables_of(sweep)
    parts: dict[str, list[pd.DataFrame]] = {}
    for section, epochs, last in _sections(models):
        for name, table in _tables_of_section(store, sweep, section, epochs, last, names, over):
            parts.setdefault(name, []).append(table)
            if name == "pairs" and keep is not None and sum(map(len, parts[name])) > MOST_ROWS:
                rows = pd.concat(parts[name], ignore_index=True)
                keep(rows[:MOST_ROWS])
                parts[name] = [rows[MOST_ROWS:].copy()]  # a part of `rows` would keep all of it in memory
    tables = {
        name: pd.concat([t for t in part if len(t)] or part[:1], ignore_index=True) for name, part in parts.items()
    }
    tables["outcomes"] = outcomes
    tables["groups"] = _with_left_out(tables["groups"], outcomes, sweep)
    for name in ("models", "groups"):
        tables[name]["tested_on"] = "held-out" if sweep.dataset.held_out else "test"
    tables["by_recipe"] = by_recipe(tables["groups"])
    return {name: tables[name] for name in names}


def write_tables(store: Store, tables: Tables) -> None:
    """Store every table in its files; CSV has no lists: names of one cell are joined by "+"."""
    for name, table in tables.items():
        parquet = pa.Table.from_pandas(table, preserve_index=False)
        if store.scores_file(name, "csv") in files_of(store, name):
            joined = {column: table[column].map("+".join) for column in _lists_of_text(parquet)}
            store.write(store.scores_file(name, "csv"), table.assign(**joined).to_csv(index=False).encode())
        store.write_parquet(store.scores_file(name), parquet)


def keep_pairs(store: Store) -> Callable[[pd.DataFrame], None]:
    """What stores rows of `pairs` in files of their own, `pairs-1.parquet` and so on; removes earlier ones."""
    for name in more_pairs(store):
        store.remove(name)

    def keep(rows: pd.DataFrame) -> None:
        name = store.scores_file(f"pairs-{len(more_pairs(store)) + 1}")
        store.write_parquet(name, pa.Table.from_pandas(rows, preserve_index=False))

    return keep


def more_pairs(store: Store) -> list[str]:
    """The files of `pairs` beside `pairs.parquet`, which only runs with more than `MOST_ROWS` pairs have."""
    return [name for name in store.files(SCORES, ".parquet") if name.startswith(f"{SCORES}/pairs-")]


def files_of(store: Store, name: str) -> list[str]:
    """The files of a table: CSV, if it is stored so, and Parquet."""
    csv = ["csv"] * (name not in TABLES or TABLES[name].csv)
    return [store.scores_file(name, suffix) for suffix in (*csv, "parquet")]


def read_table(store: Store, name: str) -> pd.DataFrame:
    """A stored table."""
    table, _ = store.read_parquet(store.scores_file(name))
    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(**{column: frame[column].map(tuple) for column in _lists_of_text(table)})


def _lists_of_text(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if field.type == pa.list_(pa.string())]


def _sections(models: Sequence[Trained]) -> Iterator[tuple[list[Trained], list[int], bool]]:
    """Models to be compared with one another, and their epochs: all at the last, then each group at an earlier one."""
    yield list(models), [model.config.training.epochs for model in models], True
    earlier: dict[tuple[Any, ...], list[Trained]] = {}
    for model in models:
        for epoch in model.config.training.kept_epochs[:-1]:
            earlier.setdefault((epoch, *group_of(model.config, epoch).values()), []).append(model)
    for key, section in earlier.items():
        yield section, [int(key[0])] * len(section), False


def _tables_of_section(
    store: Store,
    sweep: SweepConfig,
    models: list[Trained],
    epochs: list[int],
    last: bool,
    names: Collection[str],
    over: Over,
) -> Iterator[tuple[str, pd.DataFrame]]:
    configs = [model.config for model in models]
    groups = groups_among(configs, epochs)
    predictions = read_predictions(store, configs, epochs)
    margins = read_margins(store, sweep, configs, epochs, predictions)
    compared: list[Group] = []
    if last:
        errors = [{**group.key, "test_error": predictions.test_wrong[group.members].mean()} for group in groups]
        best = set(at_best_rate(pd.DataFrame(errors))[GROUP].itertuples(index=False, name=None))
        compared = [group for group in groups if tuple(group.key.values()) in best]
    sets = [group.independent_pairs for group in groups]
    sets += between_sets(compared) + stream_sets(groups) + distillation_sets(configs, groups)
    sharp = [model.facts.get("sharpness") if last else None for model in models]  # of the last weights alone
    observed = Observed(predictions, np.array(sharp, dtype=float), margins)
    of_images: dict[Group, dict[str, Estimate]] = {}
    shared: dict[Hashable, Any] = {}

    def on_planes(plane_set: str) -> tuple[int, PlaneScores]:
        stored = stored_planes(store, sweep, plane_set, configs, epochs)
        return stored.classes, score_planes(stored, frozenset(sweep.scores), sets, sweep.minimum_region_share, over)

    for plane_set, (classes, planes) in zip(sweep.planes, in_turn(on_planes, sweep.planes, 1), strict=True):
        of_images = of_images or {group: image_estimates(group, observed, classes) for group in groups}
        known = {group: of_images[group] | plane_estimates(group, planes) for group in groups}
        estimates = {group: {score: of[score] for score in BOUNDS if score in of} for group, of in known.items()}
        scored = Scored(models, epochs, groups, compared, observed, planes, estimates, shared)
        for name, entry in TABLES.items():
            if name in names and (entry.of_planes or plane_set == next(iter(sweep.planes))):
                found = entry.compute(scored)
                for part in [found] if isinstance(found, pd.DataFrame) else found:
                    yield name, part.assign(plane_set=plane_set) if entry.of_planes else part


def _with_left_out(groups: pd.DataFrame, outcomes: pd.DataFrame, sweep: SweepConfig) -> pd.DataFrame:
    """`groups` in the order of the sweep, with counts of the models left out, and rows for groups without models."""
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
