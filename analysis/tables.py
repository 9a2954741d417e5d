"""From the store's label maps and predictions to the tables of scores.

- `models`: one row a model and plane set: errors, fragmentation, where it comes from.
- `pairs`: one row a pair of models and plane set: reproducibility, and agreement on the test images.
- `double_descent`: one row a group (architecture, width, label noise) and plane set, with intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from analysis.intervals import Interval, mean_interval, pair_interval
from analysis.scores import agreement, region_counts
from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.store import Store

GROUP = ["architecture", "width", "label_noise"]
SCORES = ["train_error", "test_error", "reproducibility", "fragmentation"]
TABLES = ("models", "pairs", "double_descent")


class NoModelsError(Exception):
    """Every model of the sweep diverged."""


@dataclass(frozen=True)
class _Evaluated:
    """What the store holds of the models that did not diverge, in one order: the first axis of every array."""

    configs: Sequence[ModelConfig]
    facts: Sequence[dict[str, Any]]
    train_wrong: NDArray[np.float64]
    """`[models, train images]`: 1 where the prediction is not the given, possibly noisy, label."""
    test_wrong: NDArray[np.float64]
    """`[models, test images]`."""
    test_predictions: NDArray[np.uint8]
    """`[models, test images]`."""


def compute_tables(store: Store, sweep: SweepConfig) -> dict[str, pd.DataFrame]:
    """Every table of a sweep whose models are trained and labelled."""
    evaluated = _evaluated(store, sweep.models())
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for plane_set in sweep.planes:
        maps = np.stack([store.read_label_maps(plane_set, c.model_id) for c in evaluated.configs])
        for name, table in _tables_of(evaluated, maps, sweep, plane_set).items():
            parts[name].append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def write_tables(store: Store, tables: dict[str, pd.DataFrame]) -> None:
    """Store every table as Parquet and CSV."""
    for name, table in tables.items():
        store.write(store.scores_file(name, "csv"), table.to_csv(index=False).encode())
        store.write_parquet(store.scores_file(name), pa.Table.from_pandas(table, preserve_index=False))


def read_table(store: Store, name: str) -> pd.DataFrame:
    """A stored table."""
    table, _ = store.read_parquet(store.scores_file(name))
    return table.to_pandas()  # type: ignore[no-any-return]


def _evaluated(store: Store, models: Sequence[ModelConfig]) -> _Evaluated:
    facts = [store.read_json(store.model_file(model.model_id, "model.json")) for model in models]
    done = [(model, fact) for model, fact in zip(models, facts, strict=True) if fact["outcome"] == "done"]
    if not done:
        raise NoModelsError(f"all {len(models)} models diverged; there is nothing to score")
    wrong: dict[str, list[NDArray[np.bool_]]] = {"train": [], "test": []}
    test_predictions = []
    for model, _ in done:
        table, _ = store.read_parquet(store.model_file(model.model_id, "predictions.parquet"))
        split = table["split"].combine_chunks().dictionary_decode().to_numpy(zero_copy_only=False)
        predicted, given = table["predicted"].to_numpy(), table["given_label"].to_numpy()
        for name, rows in wrong.items():
            rows.append((predicted != given)[split == name])
        test_predictions.append(predicted[split == "test"])
    return _Evaluated(
        configs=[model for model, _ in done],
        facts=[fact for _, fact in done],
        train_wrong=np.stack(wrong["train"]).astype(float),
        test_wrong=np.stack(wrong["test"]).astype(float),
        test_predictions=np.stack(test_predictions),
    )


def _tables_of(
    evaluated: _Evaluated, maps: NDArray[np.uint8], sweep: SweepConfig, plane_set: str
) -> dict[str, pd.DataFrame]:
    """The tables of one plane set, from its label maps `[models, planes, rows, columns]`."""
    regions = np.stack([region_counts(of_model) for of_model in maps]).astype(float)
    groups = pd.DataFrame([{name: getattr(c, name) for name in GROUP} for c in evaluated.configs])
    same_points = agreement(maps.reshape(*maps.shape[:2], -1))
    rows = [
        _group_row(members, evaluated, regions, same_points, sweep)
        for members in groups.groupby(GROUP, sort=False).indices.values()
    ]
    return {
        "models": _models_table(evaluated, regions).assign(plane_set=plane_set),
        "pairs": _pairs_table(evaluated, groups, same_points).assign(plane_set=plane_set),
        "double_descent": pd.DataFrame(rows).assign(plane_set=plane_set),
    }


def _group_row(
    members: Any,
    evaluated: _Evaluated,
    regions: NDArray[np.float64],
    same_points: NDArray[np.float64],
    sweep: SweepConfig,
) -> dict[str, Any]:
    """One row of `double_descent`: the models at the indices `members`, int `[n]`, form a group."""
    intervals = {
        "train_error": mean_interval(evaluated.train_wrong[members], bounds=(0, 1)),
        "test_error": mean_interval(evaluated.test_wrong[members], bounds=(0, 1)),
    }
    if "reproducibility" in sweep.scores and len(members) > 1:
        intervals["reproducibility"] = pair_interval(same_points[:, members[:, None], members])
    if "fragmentation" in sweep.scores:
        intervals["fragmentation"] = mean_interval(regions[members], bounds=(1, np.inf))
    first = evaluated.configs[members[0]]
    row: dict[str, Any] = {name: getattr(first, name) for name in GROUP} | {"n_models": len(members)}
    row |= {score: intervals[score].value if score in intervals else np.nan for score in SCORES}
    for score in SCORES:
        interval: Interval | None = intervals.get(score)
        row[f"{score}_low"] = interval.low if interval else np.nan
        row[f"{score}_high"] = interval.high if interval else np.nan
    row |= {
        "n_planes": regions.shape[1],
        "n_train_images": evaluated.train_wrong.shape[1],
        "n_test_images": evaluated.test_wrong.shape[1],
        "reproducibility_interval_covers": "models and planes" if len(members) > 2 else "planes",
    }
    return row


def _models_table(evaluated: _Evaluated, regions: NDArray[np.float64]) -> pd.DataFrame:
    rows = []
    for index, (config, facts) in enumerate(zip(evaluated.configs, evaluated.facts, strict=True)):
        fragmentation = mean_interval(regions[index : index + 1], bounds=(1, np.inf))
        rows.append(
            {
                "model_id": config.model_id,
                **{name: getattr(config, name) for name in GROUP},
                **{f"{stream}_seed": seed for stream, seed in config.seeds.model_dump().items()},
                "train_error": evaluated.train_wrong[index].mean(),
                "test_error": evaluated.test_wrong[index].mean(),
                "fragmentation": fragmentation.value,
                "fragmentation_low": fragmentation.low,
                "fragmentation_high": fragmentation.high,
                "n_planes": regions.shape[1],
                **{key: facts.get(key) for key in ("cohort_id", "device", "git_commit", "git_dirty", "torch")},
            }
        )
    return pd.DataFrame(rows)


def _pairs_table(evaluated: _Evaluated, groups: pd.DataFrame, same_points: NDArray[np.float64]) -> pd.DataFrame:
    first, second = np.triu_indices(len(evaluated.configs), 1)
    ids = np.array([config.model_id for config in evaluated.configs])
    on_test = agreement(evaluated.test_predictions[:, None])[0]
    same_group = (groups.to_numpy()[first] == groups.to_numpy()[second]).all(axis=1)
    return pd.DataFrame(
        {
            "model_a": ids[first],
            "model_b": ids[second],
            "same_group": same_group,
            "reproducibility": same_points[:, first, second].mean(axis=0),
            "agreement_on_test_images": on_test[first, second],
            "n_planes": same_points.shape[0],
        }
    )
