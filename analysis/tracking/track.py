"""Logs the results of a run directory to MLflow.

The results are on disk before anything is logged, so a server that is down loses nothing: `track` says so within
seconds, and the same command logs them later. Logging the same results again changes nothing; logging new results
of a run directory replaces its runs.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import uuid
from typing import Any

from dbviz_ray.config import SweepConfig, fingerprint
from dbviz_ray.errors import DamagedFileError, one_line
from dbviz_ray.store import Store

from ..report.question import asked
from .address import (
    MLFLOW_ENVIRONMENT,
    beside,
    check_reachable,
    told_without_password,
    tracking_uri,
    without_password,
)
from .contents import runs_of
from .experiments import describe, experiment_of
from .links import charts_page, linked
from .runs import Contents, RunLogger
from .views import VIEW_TAG, view_tag
from .words import experiment_text

TRACKING_FILE = "tracking.json"


class TrackingUnavailableError(Exception):
    """The MLflow server or database cannot be used now; the message says why."""


def is_tracked(store: Store) -> bool:
    """Whether the stored results were logged to the present tracking URI."""
    if not store.exists(TRACKING_FILE) or not store.exists(store.scores_file("groups", "csv")):
        return False
    logged = _tracking_facts(store)
    return (logged.get("uri"), logged.get("results")) == (without_password(tracking_uri(store)), _results(store))


def track(store: Store, sweep: SweepConfig) -> str:
    """Log the stored results, figures and report, and return the parent run's id. Raises TrackingUnavailableError."""
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = tracking_uri(store)
    directory = _directory_id(store)
    contents = Contents(_results(store), runs_of(store, sweep))
    artifacts = beside(store) / "mlartifacts" / sweep.name if uri.startswith("sqlite:") else None
    try:
        check_reachable(uri)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = experiment_of(client, sweep.name, artifacts)
        note = linked(experiment_text(sweep.description, asked(sweep)), experiment.experiment_id, {})
        view = view_tag(sweep.name, contents.runs, experiment.creation_time)
        describe(client, experiment, note, (VIEW_TAG, view))
        parent = RunLogger(client, experiment.experiment_id, directory).log(contents)
    except Exception as error:  # MLflow's, a database's, an object store's, or of a proxy that answers in their place
        reason = told_without_password(one_line(error), uri)
        raise TrackingUnavailableError(f"{without_password(uri)}: {reason[:200]}") from None
    logged = {
        "uri": without_password(uri),
        "results": contents.results,
        "parent_run_id": parent,
        "page": charts_page(experiment.experiment_id),
    }
    store.write_json(TRACKING_FILE, _tracking_facts(store) | logged)
    return parent


def where_to_look(store: Store) -> str:
    """With which command, and at which address, the results can be looked at; lines, the later ones indented."""
    uri = without_password(tracking_uri(store))
    facts = _tracking_facts(store)
    page = facts.get("page", "") if facts.get("uri") == uri else ""
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page}"
    command = f"{sys.executable} -m mlflow ui --host 127.0.0.1 --backend-store-uri {shlex.quote(uri)}"
    return f"{command}\n         and then http://127.0.0.1:5000/{page}"


def _tracking_facts(store: Store) -> dict[str, Any]:
    """What is known of earlier loggings; nothing if the file is absent or damaged."""
    try:
        return store.read_json(TRACKING_FILE)
    except (FileNotFoundError, DamagedFileError):
        return {}


def _directory_id(store: Store) -> str:
    """What tells the runs of this directory from all others, also of the same path on another machine.

    It is drawn and stored before anything is logged, so that the runs of a logging that was cut off are found again.
    """
    facts = _tracking_facts(store)
    if "directory" not in facts:
        facts["directory"] = uuid.uuid4().hex
        store.write_json(TRACKING_FILE, facts)
    return fingerprint([store.root, facts["directory"]])


def _results(store: Store) -> str:
    """What tells these results from others."""
    return fingerprint([store.read(store.scores_file(table, "csv")).decode() for table in ("groups", "outcomes")])
