"""The runs of one run directory on an MLflow server: each logged once, whatever was cut off before.

A run is terminated when all of it is there. What is not, belongs to older results, or is there twice is deleted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .links import linked, shortened
from .metrics import NOT_ALLOWED, Metric
from .tags import DESCRIPTION

DIRECTORY, NAME, RESULTS = "dbviz.run_directory", "dbviz.name", "dbviz.results"
PARENT = "mlflow.parentRunId"
"""Tags: ours, and MLflow's own."""
BATCH, PARAMS_BATCH = 1000, 100
"""Metrics and parameters in one request, and parameters among them: MLflow's own limits."""
MAX_TEXT = 8000
"""Characters of a description: MLflow's limit for a tag."""
DONE, FAILED = "FINISHED", "FAILED"


@dataclass(frozen=True)
class Run:
    """What one run says."""

    name: str
    """Tells it from all others of the sweep."""
    title: str
    """What pages call it."""
    parent: str | None
    """The name of the run above it."""
    description: str
    """Markdown, with links as of `dbviz_ray.analysis.tracking.links`."""
    params: Mapping[str, Any]
    metrics: Sequence[Metric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    """By the names that they have as artifacts."""
    failed: bool = False
    """Whether pages mark it so."""


@dataclass(frozen=True)
class Contents:
    """What a sweep's runs say."""

    results: str
    """What tells these results from others."""
    runs: Sequence[Run]
    """The first is above all others; parents come before their children. Pages show them in this order."""


class RunLogger:
    """Logs contents as the runs of one run directory. Raises whatever MLflow, or what lies before it, raises.

    Args:
        client: An MlflowClient.
        experiment: The experiment's id.
        directory: What tells this directory's runs from others.
    """

    def __init__(self, client: Any, experiment: str, directory: str) -> None:
        self._client, self._experiment, self._directory = client, experiment, directory

    def log(self, contents: Contents) -> str:
        """Log what is not there yet; returns the topmost run's id."""
        runs = self._runs()
        ids = _whole(runs, contents)
        self._delete_but(ids.values(), runs)
        begun = {run.info.run_id: run.info.start_time for run in runs}
        newest = begun.get(ids.get(contents.runs[0].name), int(time.time() * 1000))
        for place, run in enumerate(contents.runs):
            if run.name not in ids:
                ids[run.name] = self._log(run, contents.results, ids, newest - place)
        # A request whose answer was lost is sent again, and may have made a run that nobody knows of.
        runs = self._runs()
        self._delete_but(ids.values(), runs)
        self._complete_links(contents, ids, {run.info.run_id: run.data.tags.get(DESCRIPTION) for run in runs})
        return ids[contents.runs[0].name]

    def _log(self, run: Run, results: str, ids: Mapping[str, str], start: int) -> str:
        own = {DIRECTORY: self._directory, NAME: run.name, RESULTS: results, DESCRIPTION: self._description(run, ids)}
        above = {PARENT: ids[run.parent]} if run.parent else {}
        tags = {**run.tags, **own, **above}
        created = self._client.create_run(self._experiment, start_time=start, tags=tags, run_name=run.title)
        run_id: str = created.info.run_id
        self._log_batch(run_id, run)
        if run.files:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in run.files.items():
                    path = Path(folder, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                self._client.log_artifacts(run_id, folder)
        # How long logging took tells nothing.
        self._client.set_terminated(run_id, FAILED if run.failed else DONE, end_time=start)
        return run_id

    def _log_batch(self, run_id: str, run: Run) -> None:
        from mlflow.entities import Metric as LoggedMetric
        from mlflow.entities import Param

        now = int(time.time() * 1000)
        params = [Param(NOT_ALLOWED.sub("_", key), str(value)[:500]) for key, value in run.params.items()]
        metrics = [LoggedMetric(key, value, now, step) for key, value, step in run.metrics]
        while params or metrics:  # in few requests, since there are many runs
            together, params = params[:PARAMS_BATCH], params[PARAMS_BATCH:]
            room = BATCH - len(together)
            self._client.log_batch(run_id, metrics=metrics[:room], params=together)
            metrics = metrics[room:]

    def _complete_links(self, contents: Contents, ids: Mapping[str, str], described: Mapping[str, str | None]) -> None:
        """To runs that were not there yet when a description was written."""
        for run in contents.runs:
            description = self._description(run, ids)
            if described.get(ids[run.name]) != description:
                self._client.set_tag(ids[run.name], DESCRIPTION, description)

    def _description(self, run: Run, ids: Mapping[str, str]) -> str:
        return shortened(linked(run.description, self._experiment, ids), MAX_TEXT, "The report tells the rest.")

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


def _whole(runs: Iterable[Any], contents: Contents) -> dict[str, str]:
    """By name, the ids of the runs that hold all of it, as it is in these results, under a run that does."""
    ended = [
        run for run in runs if run.info.status in (DONE, FAILED) and run.data.tags.get(RESULTS) == contents.results
    ]
    by_name = {(run.data.tags.get(NAME), run.data.tags.get(PARENT)): run.info.run_id for run in ended}
    ids: dict[str, str] = {}
    for run in contents.runs:
        above = ids.get(run.parent) if run.parent else None
        if (above is not None or run.parent is None) and (run.name, above) in by_name:
            ids[run.name] = by_name[run.name, above]
    return ids
