"""Everything that is logged of a sweep, read from the store and worked out before a server is spoken to."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from PIL import Image

from dbviz_ray.config import SweepConfig, TrainingConfig
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.store.provenance import provenance

from ..figures import figures_of
from ..figures.style import SERIES_COLOURS
from ..findings import findings
from ..report.of_sweep import REPORT_FILE
from ..report.question import varied
from ..scores.groups import KIND, group_of, records
from ..tables import read_table, tables_of
from .links import to_file
from .metrics import metrics_of, summary_metrics
from .models import model_runs, seed_names
from .parts import Part, parts_of
from .runs import Run
from .words import SWEEP, part_text, sweep_text

MAX_MODELS = 200
"""Models up to which each has a run, which takes some tens of milliseconds; there is no end of them in large sweeps."""
PREVIEW = 640
"""Pixels to which figures are narrowed for descriptions, which show pictures as large as they are."""
COLOUR, TYPE = "mlflow.runColor", "mlflow.runType"
"""Tags of MLflow's own."""
GREY = "#999999"
EVALUATION = "evaluation"
"""A type of runs that pages show unasked below the run that they belong to."""


def runs_of(store: Store, sweep: SweepConfig) -> list[Run]:
    """The runs of a sweep that is scored and drawn: of the sweep itself, of its curves and groups, of its models."""
    tables = {name: read_table(store, name) for name in tables_of(sweep)}
    parts = parts_of(tables["groups"], tables["differences"])
    parents = {kind: part.name for part in reversed(parts) for kind in part.kinds}
    outcomes = tables["outcomes"]
    logged = len(outcomes) <= MAX_MODELS
    models = model_runs(store, sweep, tables, parents) if logged else []
    shown = outcomes if logged else outcomes.iloc[:0]
    settings = {tuple(group_of(model, 0)[column] for column in KIND): model.training for model in sweep.models()}
    below = [_part_run(sweep, part, shown, [settings[kind] for kind in part.kinds]) for part in parts]
    below = [
        replace(run, tags={COLOUR: SERIES_COLOURS[index % len(SERIES_COLOURS)], TYPE: EVALUATION})
        for index, run in enumerate(below)
    ]
    return [_sweep_run(store, sweep, tables, parts), *below, *models]


def _sweep_run(store: Store, sweep: SweepConfig, tables: Mapping[str, pd.DataFrame], parts: Sequence[Part]) -> Run:
    count = len(tables["outcomes"])
    models = f"{count:,} trainings, each with a run below that of its curve or group."
    if count > MAX_MODELS:
        table = to_file("table models", SWEEP, "tables/models.csv")
        models = f"{count:,} trainings, too many for a run each: see the {table}."
    files, small = _files(store, sweep)
    figures = {name: (kind, small[name]) for name, kind in figures_of(sweep).items() if name in small}
    return Run(
        name=SWEEP,
        title=sweep.name,
        parent=None,
        description=sweep_text(findings(tables)["sentences"], parts, figures, models),
        params={name.replace(": ", " ").replace(" ", "_"): value for name, value in varied(sweep)}
        | {"models": count}
        | provenance(),
        metrics=summary_metrics(parts),
        tags={COLOUR: GREY},
        files=files,
    )


def _part_run(sweep: SweepConfig, part: Part, outcomes: pd.DataFrame, trainings: Sequence[TrainingConfig]) -> Run:
    """The run of a curve or group that is trained so; it has runs for those of its models that `outcomes` names."""
    models: dict[int | None, list[tuple[str, str]]] = {}
    kinds = set(part.kinds)
    for seed, row in zip(seed_names(outcomes), records(outcomes), strict=True):
        if tuple(row[column] for column in KIND) in kinds:
            key = row["width"] if part.step == "width" else None
            models.setdefault(key, []).append((seed or row["model_id"], row["model_id"]))
    settings = {name: [getattr(training, name) for training in trainings] for name in ("optimizer", "batch_size")}
    common = {name: ", ".join(map(str, dict.fromkeys(values))) for name, values in settings.items()}
    return Run(
        name=part.name,
        title=part.title,
        parent=SWEEP,
        description=part_text(part, sweep.name, models),
        params=part.params | common | {"dataset": sweep.dataset.name},
        metrics=metrics_of(part),
    )


def _files(store: Store, sweep: SweepConfig) -> tuple[dict[str, bytes], dict[str, str]]:
    """What is stored, by the names that it has as artifacts; and the artifacts that are figures' small pictures."""
    names = {name: name for name in (SWEEP_FILE, REPORT_FILE)}
    names |= {f"tables/{name}.csv": store.scores_file(name, "csv") for name in tables_of(sweep)}
    kinds = figures_of(sweep)
    names |= {
        f"figures/{name}.{suffix}": store.figure_file(name, suffix)
        for name, kind in kinds.items()
        for suffix in kind.suffixes
    }
    files = {path: store.read(name) for path, name in names.items() if store.exists(name)}
    small = {name: f"figures/small/{name}.png" for name in kinds if f"figures/{name}.png" in files}
    return files | {path: _narrowed(files[f"figures/{name}.png"]) for name, path in small.items()}, small


def _narrowed(png: bytes) -> bytes:
    picture, small = Image.open(io.BytesIO(png)), io.BytesIO()
    picture.thumbnail((PREVIEW, 10 * PREVIEW))
    picture.save(small, "png")
    return small.getvalue()
