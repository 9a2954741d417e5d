"""Logs the results of a run directory to MLflow, each run once, whatever was interrupted before.

The results are on disk before anything is logged. If the server is down, `track` says so within seconds, and the same
command logs later. The same results are logged once; new results of a run directory replace its runs.
"""

import getpass
import json
import logging
import os
import re
import shlex
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dbviz_ray.config import SweepConfig, fingerprint
from dbviz_ray.config.addresses import DATABASES, told_without_password, without_password
from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.store import Store
from dbviz_ray.store.drivers import SupersededError
from dbviz_ray.store.layout import TRACKING_FILE
from dbviz_ray.terminal import not_installed

from .contents import SWEEP, RunContent, artifacts_of, runs_of, splits_of

MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "PGCONNECT_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run, with the address's passwords
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""With these settings a server that is down costs a second, and one that does not answer half a minute."""
DIRECTORY, NAME, RESULTS = "dbviz.run_directory", "dbviz.name", "dbviz.results"
PARENT, DESCRIPTION, KIND = "mlflow.parentRunId", "mlflow.note.content", "mlflow.experimentKind"
"""Tags: three of ours, three of MLflow's."""
NOT_ALLOWED = re.compile(r"[^\w\-. :]")
"""Characters that MLflow refuses in the name of a parameter."""
TRAININGS = "custom_model_development"
"""The kind of experiment for which MLflow's pages show trainings instead of language models."""
PAGE = (
    "#/experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART&orderByAsc=true"
    f"&orderByKey={quote('tags.`mlflow.runName`')}&searchFilter={quote(f'tags.{PARENT} = ')}%27{{top}}%27"
)
"""The runs below the top run, one chart for a score, which names them all. If sorted by time, pages fold them away."""
BATCH, PARAMS_BATCH, MAX_PARAM, MAX_TEXT, MAX_RUNS = 1000, 100, 500, 8000, 50_000
"""MLflow's limits: metrics and parameters in a request, parameters among them, characters of values and tags, runs."""
NOTE = (
    "The top run has the findings, the report, the figures and the tables. Below it is a run for every curve over "
    "width or epochs (the steps of its metrics), or for every group of trainings; below these is a run for every "
    "training. Open a run of a curve and choose Model metrics to see it, or several in the chart view to compare them."
)


class TrackingUnavailableError(Exception):
    """The MLflow server or database cannot be used now; the message says why."""


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI if it is set, else an sqlite file beside the run directory. It may contain a password."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"sqlite:///{own_database(store)}"


def own_database(store: Store) -> Path:
    """The sqlite file that is used if no address is named."""
    return _beside(store) / "mlflow.db"


def _beside(store: Store) -> Path:
    """The folder of our own database and artifacts: the run directory's parent, or the current directory."""
    return Path(store.root).parent if store.is_local else Path.cwd()


def is_tracked(store: Store) -> bool:
    """Whether the stored results were logged to the present tracking URI."""
    facts, scored = _tracking_facts(store), store.exists(store.scores_file("groups", "csv"))
    is_here = facts.get("uri") == without_password(tracking_uri(store))
    return scored and is_here and facts.get("results") == _results(store)


def track(
    store: Store,
    sweep: SweepConfig,
    stored: Callable[[], None] = lambda: None,
    goes_on: Callable[[], None] = lambda: None,
) -> str:
    """Log the stored results, figures and report; returns the id of the top run. Raises TrackingUnavailableError.

    `stored` returns once figures and report are stored; it is called when all else is logged. `goes_on` is called
    before every step, none of which may be taken once another driver works on the run directory (SupersededError).
    """

    def step() -> None:
        store.check_driver()
        goes_on()

    os.environ |= MLFLOW_ENVIRONMENT | os.environ
    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri, results = tracking_uri(store), _results(store)
    directory, runs, splits = _directory_id(store), runs_of(store, sweep), list(splits_of(store, sweep))
    artifacts = _beside(store) / "mlartifacts" / sweep.name if uri.startswith("sqlite:") else None
    with unavailable_otherwise(uri):
        if uri.partition(":")[0].partition("+")[0] in DATABASES:  # MLflow would try ten times, which takes 102 seconds
            from sqlalchemy import NullPool, create_engine

            create_engine(uri, poolclass=NullPool).connect().close()
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, sweep, artifacts)
        same = {DIRECTORY: directory, RESULTS: results, **_origin(sweep)}
        top = _log(client, experiment, same, runs, _inputs(sweep, splits), step)
        complete = client.get_run(top).info.status == "FINISHED"
    stored()
    if not complete:
        files = artifacts_of(store, sweep)
        with unavailable_otherwise(uri):
            _log_files(client, top, files, step)
            client.set_terminated(top, "FINISHED")  # now: its run is the whole sweep's
    page = PAGE.format(experiment=experiment, top=top)
    logged = {"uri": without_password(uri), "results": results, "parent_run_id": top, "page": page}
    store.write_json(TRACKING_FILE, _tracking_facts(store) | logged)
    return top


@contextmanager
def unavailable_otherwise(uri: str) -> Iterator[None]:
    """Within the block, whatever MLflow or its database raises is a TrackingUnavailableError."""
    try:
        yield
    except (SupersededError, UserError):
        raise
    except Exception as error:  # of MLflow, a database, an object store, or a proxy that answers for them
        reason = told_without_password(one_line(error), uri)
        raise TrackingUnavailableError(f"{without_password(uri)}: {reason[:200]}") from None


def where_to_look(store: Store) -> str:
    """The command and address that show the results: lines, all but the first indented."""
    uri = without_password(tracking_uri(store))
    facts = _tracking_facts(store)
    page = facts.get("page", "") if facts.get("uri") == uri else ""
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page}"
    if find_spec("mlflow") is None:
        return f"{not_installed('mlflow')}; then the same command logs the results"
    command = f"{sys.executable} -m mlflow ui --host 127.0.0.1 --backend-store-uri {shlex.quote(uri)}"
    return f"{command}\n         and then http://127.0.0.1:5000/{page}"


def _origin(sweep: SweepConfig) -> dict[str, str]:
    """MLflow's tags of who ran what. A container may have no name for its user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": f"dbviz_ray.sweep {sweep.name}", "mlflow.source.type": "LOCAL"}


def _inputs(sweep: SweepConfig, splits: Sequence[tuple[str, str, dict[str, int]]]) -> list[Any]:
    """The images of the sweep as MLflow's data sets; their source is the configuration that names them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    about = (sweep.dataset.name, "dbviz_ray", sweep.dataset.model_dump_json())
    data = [Dataset(about[0], digest, *about[1:], profile=json.dumps(sizes)) for _, digest, sizes in splits]
    tags = [[InputTag("mlflow.data.context", context)] for context, *_ in splits]
    return list(map(DatasetInput, data, tags))


def _log(
    client: Any,
    experiment: str,
    same: dict[str, str],
    runs: Sequence[RunContent],
    inputs: list[Any],
    step: Callable[[], None],
) -> str:
    """Log all runs of a run directory unless they are there; returns the id of the top run. `same` are tags of all.

    The new top run still lacks files and an end. All other runs of the directory are deleted: those of older results,
    of interrupted commands, and those made twice because the answer to a request was lost.
    """
    there = _runs_of(client, experiment, same[DIRECTORY])
    for run in there:
        if (run.data.tags.get(NAME), run.data.tags.get(RESULTS), run.info.status) == (SWEEP, same[RESULTS], "FINISHED"):
            return str(run.info.run_id)
    from ..figures.style import SERIES_COLOURS  # imports matplotlib

    ids: dict[str, str] = {}
    now = time.time()
    for place, run in enumerate(runs):
        step()
        colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]  # else MLflow hashes the id, and curves may look the same
        tags = same | {NAME: run.name, DESCRIPTION: run.description[:MAX_TEXT], "mlflow.runColor": colour}
        tags |= {PARENT: ids[run.parent]} if run.parent else {}
        tags |= {"mlflow.source.git.commit": run.commit} if run.commit else {}
        # Pages sort by the start, the newest first, 100 at a time, with their parents, and fold children below those.
        # Trainings of a cohort start together: a millisecond each keeps them in order, and a run before its children.
        start, end = (int(seconds * 1000) - place for seconds in run.span or (now, now))
        created = client.create_run(experiment, start_time=start, run_name=run.title, tags=tags)
        ids[run.name] = created.info.run_id
        _log_content(client, ids[run.name], run, end)
        client.log_inputs(ids[run.name], inputs)
        status = "FAILED" if run.failed else "FINISHED"
        if run.parent:  # without a known end, pages show no duration
            client.set_terminated(ids[run.name], status, end) if run.span else client.update_run(ids[run.name], status)
    for run in _runs_of(client, experiment, same[DIRECTORY]):
        if run.info.run_id not in ids.values():
            step()
            client.delete_run(run.info.run_id)
    return ids[SWEEP]


def _log_content(client: Any, run_id: str, run: RunContent, end: int) -> None:
    from mlflow.entities import Metric, Param

    params = [Param(NOT_ALLOWED.sub("_", key), str(value)[:MAX_PARAM]) for key, value in run.params.items()]
    metrics = [Metric(key, value, end, step) for key, value, step in run.metrics]
    while params or metrics:
        together, params = params[:PARAMS_BATCH], params[PARAMS_BATCH:]
        room = BATCH - len(together)
        client.log_batch(run_id, metrics=metrics[:room], params=together)
        metrics = metrics[room:]


def _log_files(client: Any, run_id: str, files: Mapping[str, bytes], step: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            step()
            client.log_artifact(run_id, path, os.path.dirname(name) or None)


def _runs_of(client: Any, experiment: str, directory: str) -> list[Any]:
    return list(client.search_runs([experiment], f"tags.`{DIRECTORY}` = '{directory}'", max_results=MAX_RUNS))


def _experiment(client: Any, sweep: SweepConfig, artifacts: Path | None) -> str:
    """The id of the sweep's experiment, which is made if it does not exist; new artifacts go to `artifacts`."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(sweep.name)
    if found is None:
        try:
            found = client.get_experiment(client.create_experiment(sweep.name, artifacts and artifacts.as_uri()))
        except MlflowException:  # another sweep has just made it, or a request of ours whose answer was lost
            found = client.get_experiment_by_name(sweep.name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for name, value in {KIND: TRAININGS, DESCRIPTION: f"{sweep.description}\n\n{NOTE}".strip()}.items():
        if name not in found.tags:
            client.set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)


def _tracking_facts(store: Store) -> dict[str, Any]:
    """What earlier commands noted; nothing if the file is absent or damaged."""
    with suppress(FileNotFoundError, DamagedFileError):
        return store.read_json(TRACKING_FILE)
    return {}


def _directory_id(store: Store) -> str:
    """Identifies the runs of this directory, also against the same path on another machine.

    It is stored before anything is logged, so that the runs of an interrupted command are found again.
    """
    facts = _tracking_facts(store)
    if "directory" not in facts:
        facts["directory"] = uuid.uuid4().hex
        store.write_json(TRACKING_FILE, facts)
    return fingerprint([store.root, facts["directory"]])


def _results(store: Store) -> str:
    return fingerprint([store.read(store.scores_file(table, "csv")).decode() for table in ("groups", "outcomes")])
