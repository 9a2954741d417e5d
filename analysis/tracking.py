"""MLflow: an experiment a sweep, a run a curve with its values at step = width (or epoch), a run for each group that
lies on no curve, and a parent run over them.

The results are on disk before anything is logged, so a server that is down loses nothing: `track` says so within
seconds, and the same command logs them later. Logging the same results again changes nothing; logging new results
of a run directory replaces its runs.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.findings import findings
from analysis.parts import metrics_of, parts_of
from analysis.tables import read_table, tables_of
from dbviz_ray.config import SweepConfig, fingerprint
from dbviz_ray.errors import one_line
from dbviz_ray.provenance import provenance
from dbviz_ray.store import SWEEP_FILE, Store

TRACKING_FILE = "tracking.json"
DIRECTORY = "dbviz.run_directory"
PART = "dbviz.part"
RESULTS = "dbviz.results"
METRICS_BATCH, PARAMS_BATCH = 1000, 100
"""Metrics, and parameters, in one request: MLflow's own limits."""
NOT_ALLOWED = re.compile(r"[^\w\-. :/]")
"""What MLflow refuses in a parameter's name, such as the plus in SGD+SAM."""
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
    if not store.exists(TRACKING_FILE) or not store.exists(store.scores_file("groups", "csv")):
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
        raise TrackingUnavailableError(f"{uri}: {one_line(error, with_type=False)[:200]}") from None
    store.write_json(TRACKING_FILE, {"uri": uri, "results": _results(store), "parent_run_id": parent})
    return parent


def _results(store: Store) -> str:
    """What tells these results from others."""
    return fingerprint(store.read(store.scores_file("groups", "csv")).decode())


class _Logger:
    """Everything that one call of `track` logs."""

    def __init__(self, uri: str, store: Store, sweep: SweepConfig) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._store, self._sweep = store, sweep
        self._results = _results(store)
        self._experiment = self._experiment_id(_beside(store) if uri.startswith("sqlite:") else None)

    def log(self, figures: Mapping[str, Figure]) -> str:
        finished = self._runs_of_these_results()
        parent = finished.get("sweep")
        if parent is None:
            tables = {name: read_table(self._store, name) for name in tables_of(self._sweep)}
            parent = self._new_run("sweep", self._sweep.name, "\n\n".join(findings(tables)["sentences"]))
            self._log_batch(parent, params=_flattened(self._sweep.model_dump(mode="json")) | provenance())
            for table in tables:
                self._client.log_text(parent, self._text(self._store.scores_file(table, "csv")), f"tables/{table}.csv")
            self._client.log_text(parent, self._text(SWEEP_FILE), SWEEP_FILE)
            for name, figure in figures.items():
                self._client.log_figure(parent, figure, f"figures/{name}.png")
            self._client.set_terminated(parent)  # before its parts, so that they never outlive their parent
        for part in parts_of(*(read_table(self._store, name) for name in ("groups", "differences"))):
            if part.name not in finished:
                run = self._new_run(part.name, part.name, part.description, {"mlflow.parentRunId": parent})
                self._log_batch(run, params=part.params, metrics=metrics_of(part))
                self._client.set_terminated(run)
        return parent

    def _runs_of_these_results(self) -> dict[str, str]:
        """The whole runs of these very results, by name; runs of older or half-logged ones are deleted."""
        found: dict[str, str] = {}
        token = None
        while True:
            tag = f"tags.`{DIRECTORY}` = '{fingerprint(self._store.root)}'"
            page = self._client.search_runs([self._experiment], tag, page_token=token)
            for run in page:
                name = run.data.tags.get(PART, "")
                whole = run.data.tags.get(RESULTS) == self._results and run.info.status == "FINISHED"
                if whole and name not in found:
                    found[name] = run.info.run_id
                else:
                    self._client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return found

    def _new_run(self, name: str, title: str, description: str, tags: Mapping[str, str] | None = None) -> str:
        tags = {
            DIRECTORY: fingerprint(self._store.root),
            PART: name,
            RESULTS: self._results,
            "mlflow.note.content": description,
            **(tags or {}),
        }
        run = self._client.create_run(self._experiment, run_name=title, tags=tags)
        return run.info.run_id  # type: ignore[no-any-return]

    def _log_batch(self, run: str, params: Mapping[str, Any], metrics: Iterable[tuple[str, float, int]] = ()) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        logged = [Metric(key, value, now, step) for key, value, step in metrics]
        named = [Param(NOT_ALLOWED.sub("_", key), str(value)[:500]) for key, value in params.items()]
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


def _flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat |= _flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
