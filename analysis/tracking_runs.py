"""The runs of one run directory on an MLflow server: each logged once, whatever was cut off before.

A run is terminated when all of it is there. What is not, belongs to older results, or is there twice is deleted.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.parts import Part, metrics_of

DIRECTORY, PART, RESULTS = "dbviz.run_directory", "dbviz.part", "dbviz.results"
PARENT, DESCRIPTION = "mlflow.parentRunId", "mlflow.note.content"
"""Tags: ours, and MLflow's own."""
SWEEP = "sweep"
"""The parent run, among the parts."""
METRICS_BATCH, PARAMS_BATCH = 1000, 100
"""Metrics, and parameters, in one request: MLflow's own limits."""
NOT_ALLOWED = re.compile(r"[^\w\-. :/]")
"""What MLflow refuses in a parameter's name, such as the plus in SGD+SAM."""


@dataclass(frozen=True)
class Contents:
    """What a sweep's runs say."""

    results: str
    """What tells these results from others."""
    title: str
    description: str
    params: Mapping[str, Any]
    files: Mapping[str, bytes]
    """By the names that they have as artifacts."""
    parts: Sequence[Part]


class RunLogger:
    """Logs contents as the runs of one run directory. Raises whatever MLflow, or what lies before it, raises.

    Args:
        uri: The tracking URI.
        experiment: Its name; made if there is none.
        directory: What tells this directory's runs from others.
        artifacts: Where a new experiment keeps its artifacts; the server's own place if None.
    """

    def __init__(self, uri: str, experiment: str, directory: str, artifacts: Path | None) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._directory = directory
        self._experiment = self._experiment_id(experiment, artifacts)

    def log(self, contents: Contents) -> str:
        """Log what is not there yet; returns the parent run's id."""
        runs = self._runs()
        logged = _whole(runs, contents.results)
        self._delete_but(logged.values(), runs)
        if SWEEP not in logged:
            logged[SWEEP] = self._log_sweep(contents)
        for part in contents.parts:
            if part.name not in logged:
                logged[part.name] = self._log_part(part, contents.results, logged[SWEEP])
        # A request whose answer was lost is sent again, and may have made a run that nobody knows of.
        self._delete_but(logged.values(), self._runs())
        return logged[SWEEP]

    def _log_sweep(self, contents: Contents) -> str:
        run = self._new_run(SWEEP, contents.title, contents.results, {DESCRIPTION: contents.description})
        self._log_batch(run, params=contents.params)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in contents.files.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run, folder)
        self._client.set_terminated(run)
        return run

    def _log_part(self, part: Part, results: str, parent: str) -> str:
        run = self._new_run(part.name, part.name, results, {DESCRIPTION: part.description, PARENT: parent})
        self._log_batch(run, params=part.params, metrics=metrics_of(part))
        self._client.set_terminated(run)
        return run

    def _new_run(self, part: str, title: str, results: str, tags: Mapping[str, str]) -> str:
        own = {DIRECTORY: self._directory, PART: part, RESULTS: results}
        run = self._client.create_run(self._experiment, run_name=title, tags={**own, **tags})
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

    def _runs(self) -> list[Any]:
        """All runs of the directory, the newest first."""
        of_directory = f"tags.`{DIRECTORY}` = '{self._directory}'"
        page = self._client.search_runs([self._experiment], of_directory)
        found = list(page)
        while page.token:
            page = self._client.search_runs([self._experiment], of_directory, page_token=page.token)
            found += page
        return found

    def _delete_but(self, kept: Collection[str], runs: Iterable[Any]) -> None:
        for run in runs:
            if run.info.run_id not in kept:
                self._client.delete_run(run.info.run_id)

    def _experiment_id(self, name: str, artifacts: Path | None) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return self._client.create_experiment(name, artifacts and artifacts.as_uri())  # type: ignore[no-any-return]
            except MlflowException:  # another sweep, or a request of ours whose answer was lost, has just made it
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id  # type: ignore[no-any-return]


def _whole(runs: Iterable[Any], results: str) -> dict[str, str]:
    """By part, the ids of the runs that hold all of it, as it is in these results, under a parent run that does."""
    finished = [run for run in runs if run.data.tags.get(RESULTS) == results and run.info.status == "FINISHED"]
    parent = next((run.info.run_id for run in finished if run.data.tags.get(PART) == SWEEP), None)
    if parent is None:
        return {}
    children = [run for run in finished if run.data.tags.get(PARENT) == parent]
    return {SWEEP: parent} | {run.data.tags.get(PART, ""): run.info.run_id for run in children}
