"""The tables of groups and of models: scores, what intervals come from, peaks over width, margins, coarser grids."""

from collections.abc import Mapping
from dataclasses import astuple
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from dbviz_ray.config.seeds import numpy_generator

from ..scores.group_scores import AT_LEAST_ZERO, SCORES, STATISTICS, kinds_of_images, of_chosen_images
from ..scores.groups import GROUP, Group, group_of, records
from ..scores.regions import Floats, Regions, extrapolated
from ..scores.votes import multiplicity
from ..statistics.estimates import mean_estimate, spread_between_models
from ..statistics.intervals import Interval, interval_of, variances_of
from ..statistics.peaks import Pairs, find_peak
from ..statistics.pseudo_values import Variances
from .scored import NAN, Scored, columns_of, covers_text, items_of, value_and_ends


def groups_table(scored: Scored) -> pd.DataFrame:
    """One row for each group."""
    predictions, margins = scored.observed.predictions, scored.observed.margins
    rows = []
    for group in scored.groups:
        intervals = {score: interval_of(found, SCORES[score]) for score, found in scored.estimates[group].items()}
        row: dict[str, Any] = {**group.key, "n_models": len(group.members), **dict.fromkeys(SCORES)}  # values first
        for score in SCORES:
            row |= value_and_ends(score, intervals.get(score))
        of_members = predictions.on_test[group.members]
        spread, beyond_test_set = spread_between_models(predictions.test_wrong[group.members])
        row |= {
            **multiplicity(of_members, predictions.test_wrong[group.members]),
            "test_error_spread": spread,
            "test_error_spread_beyond_test_set": beyond_test_set,
            "n_planes": scored.planes.planes,
            "n_train_images": predictions.train_wrong.shape[1],
            "n_test_images": predictions.test_wrong.shape[1],
            "n_margin_images": 0 if margins is None else margins.distances.shape[1],
            "margin_found": NAN if margins is None else margins.found[group.members].mean(),
            "n_constant": int(np.count_nonzero((of_members == of_members[:, :1]).all(axis=1))),
            "reproducibility_interval_covers": covers_text(intervals.get("reproducibility")),
        }
        rows.append(row)
    return pd.DataFrame(rows)


FACTS = ("cohort_id", "stack", "device", "git_commit", "git_dirty", "torch")


def models_table(scored: Scored) -> pd.DataFrame:
    """One row for each model; intervals are over planes."""
    observed, predictions = scored.observed, scored.observed.predictions
    rows = []
    for index, (model, epoch) in enumerate(zip(scored.models, scored.epochs, strict=True)):
        row: dict[str, Any] = {
            "model_id": model.config.model_id,
            **group_of(model.config, epoch),
            "teacher": model.config.teacher or "",
            **{f"{stream}_seed": seed for stream, seed in model.config.seeds.model_dump().items()},
            "train_error": predictions.train_wrong[index, predictions.trained_on[index]].mean(),
            "test_error": predictions.test_wrong[index].mean(),
            "predicted_classes": len(np.unique(predictions.on_test[index])),
        }
        for name in Regions._fields:
            values = scored.planes.regions.get(name)
            known = None if values is None else interval_of(mean_estimate(values[[index]]), SCORES[name])
            row |= value_and_ends(name, known)
        row["margin"] = NAN if observed.margins is None else observed.margins.mean_distance[index].mean()
        row |= {"sharpness": observed.sharpness[index], "n_planes": scored.planes.planes}
        rows.append(row | {key: model.facts.get(key) for key in FACTS})
    return pd.DataFrame(rows).astype({"train_set_seed": "Int64"})


INTERVAL = ("value", "low", "high", "n_models", "n_items", "interval_covers")
"""The columns that hold the fields of an Interval."""


def uncertainty_table(scored: Scored) -> pd.DataFrame:
    """One row for each group and score: its interval, and the variances and degrees of freedom behind it."""
    rows: list[dict[str, Any]] = []
    for group in scored.groups:
        for score, estimate in scored.estimates[group].items():
            interval, variances = interval_of(estimate, SCORES[score]), variances_of(estimate)
            rows.append(
                {
                    **group.key,
                    "score": score,
                    **dict(zip(INTERVAL, astuple(interval), strict=True)),
                    "items_variance": variances.items[0],
                    "items_freedom": int(variances.items[1]),
                    "models_variances": [variance for variance, _ in variances.models],
                    "models_freedoms": [float(freedom) for _, freedom in variances.models],
                    "shared_variance": variances.shared[0],
                    "shared_freedom": float(variances.shared[1]),
                }
            )
    return pd.DataFrame(rows)


def uncertain_scores(table: pd.DataFrame) -> list[tuple[dict[str, Any], Interval, Variances]]:
    """The rows of the table: each row with its interval and the variances behind it."""
    found = []
    for row in records(table):
        items, shared = ((row[f"{part}_variance"], row[f"{part}_freedom"]) for part in ("items", "shared"))
        models = tuple(zip(row["models_variances"], row["models_freedoms"], strict=True))
        found.append((row, Interval(*(row[column] for column in INTERVAL)), Variances(items, models, shared)))
    return found


PEAK_OF = {"test_error": 1, "reproducibility": -1, "fragmentation": 1}
"""Scores whose peak (1) or dip (-1) over width is looked for."""
CURVE = [column for column in GROUP if column not in ("width", "epoch")]
PEAKS = [*CURVE, "score", *columns_of("width"), "p_value", "interval_covers", "n_models", "n_widths"]


def peaks_table(scored: Scored) -> pd.DataFrame:
    """One row for each score of `PEAK_OF` and each curve over width, at the last epochs, on which it has a peak."""
    curves: dict[tuple[Any, ...], list[Group]] = {}
    for group in sorted(scored.groups if scored.compared else (), key=lambda group: group.key["width"]):
        curves.setdefault(tuple(group.key[column] for column in CURVE), []).append(group)
    rows = []
    for key, groups in curves.items():
        for score, sign in PEAK_OF.items():
            found = {group: scored.estimates[group].get(score) for group in groups}
            known = {group: one for group, one in found.items() if one is not None and np.isfinite(one.value)}
            generator, pairs = numpy_generator("peaks", 0), _pairs_of(score, list(known), scored)
            peak = scored.once(score, (key, score), find_peak, list(known.values()), generator, sign, pairs)
            if peak is None:
                continue
            widths = [group.key["width"] for group in known]
            low, high = (widths[place] for place in peak.interval) if peak.interval else (NAN, NAN)
            row = dict(zip(CURVE, key, strict=True)) | {"score": score, "width": widths[peak.place]}
            row |= {"width_low": low, "width_high": high, "p_value": peak.p_value}
            row["interval_covers"] = f"models and {items_of(score)}" if peak.interval else items_of(score)
            rows.append(row | {"n_models": sum(len(group.members) for group in known), "n_widths": len(widths)})
    return pd.DataFrame(rows, columns=PEAKS).astype({"width_low": float, "width_high": float})


def _pairs_of(score: str, groups: list[Group], scored: Scored) -> Pairs | None:
    """None for other scores than of pairs, and where some trainings share seeds."""
    same = scored.planes.same_points
    if score != "reproducibility" or same is None:
        return None
    if any(len(group.levels) != 1 or len(np.unique(group.levels[0])) < len(group.members) for group in groups):
        return None
    return Pairs([same.by_pair(own.members, following.members) for own, following in pairwise(groups)])


def margins_table(scored: Scored) -> pd.DataFrame:
    """One row for each group and kind of images; `read_margins` says what counts where no boundary was found."""
    margins, rows = scored.observed.margins, []
    assert margins is not None  # only sweeps with margins have this table
    for group in scored.groups:
        distances, found = margins.mean_distance[group.members], margins.found[group.members].mean(axis=2)
        for images, wanted in kinds_of_images(group, margins).items():
            row: dict[str, Any] = {**group.key, "images": images}
            for name in STATISTICS:
                estimate = of_chosen_images(name, distances, wanted, group)
                row |= value_and_ends(name, interval_of(estimate, AT_LEAST_ZERO))
            row["found"] = found[wanted].mean()
            rows.append(row | {"n_models": len(group.members), "n_images": int(wanted.sum(axis=1).min())})
    return pd.DataFrame(rows)


GRID, LIMIT = "grid", "extrapolated"
COUNTS = ("fragmentation", "large_regions")
RESOLUTION = [*GROUP, "kind", "resolution", *columns_of(*COUNTS), "n_models", "n_planes"]


def resolution_table(scored: Scored) -> pd.DataFrame:
    """One row for each group and each grid within its grid, and one for the limit of ever finer grids.

    Only the number of large regions has a limit (see `scores.regions`). Without a coarser grid there are no rows.
    """
    grids, rows = scored.planes.by_resolution, []
    kinds: list[tuple[str, int | None, Mapping[str, Floats]]] = []
    if len(grids) > 1:
        limit = extrapolated({points: counts["large_regions"] for points, counts in grids.items()})
        kinds = [(GRID, points, {score: counts[score] for score in COUNTS}) for points, counts in sorted(grids.items())]
        kinds.append((LIMIT, None, {"large_regions": limit}))
    for group in scored.groups:
        for kind, resolution, counts in kinds:
            row: dict[str, Any] = {**group.key, "kind": kind, "resolution": resolution}
            for score, values in counts.items():
                estimate = mean_estimate(values[group.members], group.levels)
                row |= value_and_ends(score, interval_of(estimate, SCORES[score]))
            rows.append(row | {"n_models": len(group.members), "n_planes": scored.planes.planes})
    return pd.DataFrame(rows, columns=RESOLUTION).astype({"resolution": "Int64"})
