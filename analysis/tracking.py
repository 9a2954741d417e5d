"""MLflow: an experiment a sweep, a run a curve with its values at step = width (or epoch), a run for each group that
lies on no curve, and a parent run over them.

The results are on disk before anything is logged, so a server that is down loses nothing: `track` says so within
seconds, and the same command logs them later. Logging the same results again changes nothing; logging new results
of a run directory replaces its runs.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from typing import Any

from analysis.figures import figures_of
from analysis.findings import findings
from analysis.parts import parts_of
from analysis.report.of_sweep import REPORT_FILE
from analysis.tables import read_table, tables_of
from analysis.tracking_address import (
    MLFLOW_ENVIRONMENT,
    beside,
    check_reachable,
    told_without_password,
    tracking_uri,
    without_password,
)
from analysis.tracking_runs import Contents, RunLogger
from dbviz_ray.config import SweepConfig, fingerprint
from dbviz_ray.errors import DamagedFileError, one_line
from dbviz_ray.provenance import provenance
from dbviz_ray.store import SWEEP_FILE, Store

__all__ = ["TrackingUnavailableError", "is_tracked", "track", "tracking_uri", "without_password"]

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
    contents = _contents(store, sweep)
    artifacts = beside(store) / "mlartifacts" / sweep.name if uri.startswith("sqlite:") else None
    try:
        check_reachable(uri)
        parent = RunLogger(uri, sweep.name, directory, artifacts).log(contents)
    except Exception as error:  # MLflow's, a database's, an object store's, or of a proxy that answers in their place
        reason = told_without_password(one_line(error), uri)
        raise TrackingUnavailableError(f"{without_password(uri)}: {reason[:200]}") from None
    logged = {"uri": without_password(uri), "results": contents.results, "parent_run_id": parent}
    store.write_json(TRACKING_FILE, _tracking_facts(store) | logged)
    return parent


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


def _contents(store: Store, sweep: SweepConfig) -> Contents:
    """Everything that is logged, read and worked out before the server is spoken to."""
    tables = {name: read_table(store, name) for name in tables_of(sweep)}
    files = {f"tables/{name}.csv": store.scores_file(name, "csv") for name in tables}
    files |= {
        f"figures/{name}.{suffix}": store.figure_file(name, suffix)
        for name, kind in figures_of(sweep).items()
        for suffix in kind.suffixes
        if suffix != "pdf"
    }
    files |= {name: name for name in (SWEEP_FILE, REPORT_FILE)}
    return Contents(
        results=_results(store),
        title=sweep.name,
        description="\n\n".join(findings(tables)["sentences"]),
        params=_flattened(sweep.model_dump(mode="json")) | provenance(),
        files={path: store.read(file) for path, file in files.items() if store.exists(file)},
        parts=parts_of(tables["groups"], tables["differences"]),
    )


def _flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat |= _flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
