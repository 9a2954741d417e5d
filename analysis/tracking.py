"""MLflow: an experiment a sweep, a run a curve with its values at step = width, and a parent run over them.

The results are on disk before anything is logged, so a server that is down loses nothing: `track` says so within
seconds, and the same command logs them later. Logging the same results again changes nothing; logging new results
of a run directory replaces its runs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.findings import curves, interpolation_threshold, sentence
from analysis.tables import SCORES, TABLES, read_table
from dbviz_ray.config import SweepConfig, fingerprint
from dbviz_ray.provenance import provenance
from dbviz_ray.store import SWEEP_FILE, Store

TRACKING_FILE = "tracking.json"
RUN_KEY = "dbviz.run_key"
RESULTS = "dbviz.results"
METRICS_BATCH, PARAMS_BATCH = 1000, 100
"""Metrics, and parameters, in one request: MLflow's own limits."""
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class TrackingUnavailableError(Exception):
    """The MLflow server or database cannot be used now; the message says why."""


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI if it is set, else an sqlite file beside the run directory."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named:
        return named
    return f"sqlite:///{_beside(store) / 'mlflow.db'}"


def _beside(store: Store) -> Path:
    """The folder for a database and artifacts of our own: the run directory's parent, or the present directory."""
    return Path(store.root).parent if store.is_local else Path.cwd()


def is_tracked(store: Store) -> bool:
    """Whether the stored results were logged to the present tracking URI."""
    if not store.exists(TRACKING_FILE) or not store.exists(store.scores_file("double_descent", "csv")):
        return False
    logged = store.read_json(TRACKING_FILE)
    return (logged["uri"], logged["results"]) == (tracking_uri(store), _results(store))


def track(store: Store, sweep: SweepConfig, figures: Mapping[str, Figure]) -> str:
    """Log the stored results, and return the parent run's id. Raises TrackingUnavailableError."""
    for name, value in IMPATIENT.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri(store)
    try:
        parent = _Logger(uri, store, sweep).log(figures)
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        raise TrackingUnavailableError(f"{uri}: {' '.join(str(error).split())[:200]}") from None
    store.write_json(TRACKING_FILE, {"uri": uri, "results": _results(store), "parent_run_id": parent})
    return parent


def _results(store: Store) -> str:
    """What tells these results from others."""
    return fingerprint(store.read(store.scores_file("double_descent", "csv")).decode())


class _Logger:
    """Everything that one call of `track` logs."""

    def __init__(self, uri: str, store: Store, sweep: SweepConfig) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._store, self._sweep = store, sweep
        self._table = read_table(store, "double_descent")
        self._results = _results(store)
        self._experiment = self._experiment_id(_beside(store) if uri.startswith("sqlite:") else None)

    def log(self, figures: Mapping[str, Figure]) -> str:
        parent = self._finished_run("sweep")
        if parent is None:
            parent = self._new_run("sweep", self._sweep.name, self._description(curves(self._table)))
            self._log_batch(parent, params=_flattened(self._sweep.model_dump(mode="json")) | provenance())
            for table in TABLES:
                self._client.log_text(parent, self._text(self._store.scores_file(table, "csv")), f"tables/{table}.csv")
            self._client.log_text(parent, self._text(SWEEP_FILE), SWEEP_FILE)
            for name, figure in figures.items():
                self._client.log_figure(parent, figure, f"figures/{name}.png")
            self._client.set_terminated(parent)  # before its curves, so that they never outlive their parent
        for key, curve in curves(self._table):
            self._log_curve(key, curve, parent)
        return parent

    def _log_curve(self, key: dict[str, Any], curve: pd.DataFrame, parent: str) -> None:
        name = f"{key['architecture']} noise {key['label_noise']:g} on {key['plane_set']}"
        if self._finished_run(name) is not None:
            return
        run = self._new_run(name, name, self._description([(key, curve)]), {"mlflow.parentRunId": parent})
        threshold = interpolation_threshold(curve)
        params = key | {"interpolation_threshold": threshold, "n_models": int(curve["n_models"].max())}
        self._log_batch(run, params=params, metrics=_curve_metrics(curve))
        self._client.set_terminated(run)

    def _description(self, keyed: Iterable[tuple[dict[str, Any], pd.DataFrame]]) -> str:
        return "\n\n".join(sentence(key, curve) for key, curve in keyed)

    def _finished_run(self, name: str) -> str | None:
        """The run of these very results, if it is whole; runs of older or half-logged ones are deleted."""
        runs = self._client.search_runs([self._experiment], f"tags.`{RUN_KEY}` = '{self._key(name)}'")
        whole = [r for r in runs if r.data.tags.get(RESULTS) == self._results and r.info.status == "FINISHED"]
        for run in runs:
            if run not in whole[:1]:
                self._client.delete_run(run.info.run_id)
        return whole[0].info.run_id if whole else None

    def _new_run(self, name: str, title: str, description: str, tags: Mapping[str, str] | None = None) -> str:
        tags = {
            RUN_KEY: self._key(name),
            RESULTS: self._results,
            "mlflow.note.content": description,
            **(tags or {}),
        }
        run = self._client.create_run(self._experiment, run_name=title, tags=tags)
        return run.info.run_id  # type: ignore[no-any-return]

    def _key(self, name: str) -> str:
        return fingerprint([self._store.root, name])

    def _log_batch(self, run: str, params: Mapping[str, Any], metrics: Iterable[tuple[str, float, int]] = ()) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        logged = [Metric(key, value, now, step) for key, value, step in metrics]
        named = [Param(key, str(value)[:500]) for key, value in params.items()]
        for start in range(0, len(named), PARAMS_BATCH):
            self._client.log_batch(run, params=named[start : start + PARAMS_BATCH])
        for start in range(0, len(logged), METRICS_BATCH):
            self._client.log_batch(run, metrics=logged[start : start + METRICS_BATCH])

    def _text(self, name: str) -> str:
        return self._store.read(name).decode()

    def _experiment_id(self, artifacts_beside: Path | None) -> str:
        experiment = self._client.get_experiment_by_name(self._sweep.name)
        if experiment is not None:
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            return experiment.experiment_id  # type: ignore[no-any-return]
        location = (artifacts_beside / "mlartifacts" / self._sweep.name).as_uri() if artifacts_beside else None
        return self._client.create_experiment(self._sweep.name, artifact_location=location)  # type: ignore[no-any-return]


def _curve_metrics(curve: pd.DataFrame) -> Iterable[tuple[str, float, int]]:
    for score in SCORES:
        for column in (score, f"{score}_low", f"{score}_high"):
            for width, value in zip(curve["width"], curve[column], strict=True):
                if pd.notna(value):
                    yield column, float(value), int(width)


def _flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat |= _flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
