"""The Ray session of one command: joins or starts a cluster, keeps it quiet, and closes it."""

import logging
import math
import os
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

from dbviz_ray.cluster import Job, Training
from dbviz_ray.cluster.metrics import count_task
from dbviz_ray.cluster.nodes import ANSWER_SECONDS, answers
from dbviz_ray.cluster.schedule import TaskQueue
from dbviz_ray.config import ModelConfig, ResourcesConfig, SweepConfig
from dbviz_ray.errors import StageFailedError, UserError, one_line
from dbviz_ray.evaluation.work import Task, What, Work
from dbviz_ray.store import Store
from dbviz_ray.store.models import WorkEnd
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Line, say
from dbviz_ray.training.allocations import WORKER_ENVIRONMENT

Result = TypeVar("Result")
DRIVER_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray 2.60 does so by itself; older ones warn
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # nobody reads their files, and one fails if /dev/shm is full
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command at once; the store knows what is done
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # never: Tune's own state is useless and grows
    "TUNE_MAX_PENDING_TRIALS_PG": "200",  # how far an autoscaler sees ahead
}

MOST_LETTERS = 107 - 68
"""Of the path of Ray's folder: a socket's path may have 107, and Ray's names in it have 68."""
SLOW_IMPORTS = "dbviz_ray.cluster.training", "ray.air.integrations.mlflow"  # by Tune, which counts its callbacks
_ASIDE = ThreadPoolExecutor(1)
THREADS = 200
"""About what Ray needs to start: its own processes had 133, a worker up to 36 (Ray 2.60, two cores, 2026-11-30)."""


@dataclass(frozen=True)
class Session:
    """The Ray cluster that a command works on, as its `Workers`."""

    joined: bool
    """Whether the command joined a running cluster; its nodes may come and go."""

    @property
    def memory_limit(self) -> float:
        """Most bytes that one worker may request; a cluster may grow, a single machine does not."""
        return math.inf if self.joined else float(ray.cluster_resources().get("memory", math.inf))

    def memory_share(self, cpus: int) -> float:
        """Bytes for each `cpus` of this machine's cores; none of a cluster, whose machines come and go."""
        there: Mapping[str, float] = {} if self.joined else ray.cluster_resources()
        return there.get("memory", 0.0) // max(1.0, there.get("CPU", 0.0) // cpus)

    def train(self, job: Job, training: Training) -> None:
        """See `Workers.train`."""
        from dbviz_ray.cluster.training import tune_cohorts

        tune_cohorts(job, training, self)

    def evaluate(self, job: Job, queue: TaskQueue, work: Mapping[What, Work]) -> Iterator[tuple[Task, WorkEnd]]:
        """See `Workers.evaluate`."""
        from dbviz_ray.cluster.evaluation import Pool

        for task, end in Pool(job, queue, work, self.joined).results():
            count_task(task, work[task.what], end)
            yield task, end

    def over(self, of: Callable[..., Result], blocks: Sequence[slice]) -> Iterator[Result]:
        """`of(block, threads=1)` for each block, in their order, by tasks of one core each."""
        task, shared = ray.remote(num_cpus=1)(lambda of, block: of(block, threads=1)), ray.put(of)
        waiting, begun = deque(blocks), deque[Any]()
        while waiting or begun:
            interruption.check()
            while waiting and len(begun) <= 2 * ray.cluster_resources().get("CPU", 1):  # results take memory
                begun.append(task.remote(shared, waiting.popleft()))
            yield ray.get(begun.popleft())

    def draw(self, sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> None:
        """See `Workers.draw`."""
        from dbviz_ray.cluster.evaluation import draw_on_worker

        draw_on_worker(sweep, store, plane_set, attacked)


@contextmanager
def ray_session(address: str | None, resources: ResourcesConfig, verbose: bool) -> Iterator[Session]:
    """A Ray session at `address`.

    None joins the cluster of RAY_ADDRESS or of `ray start`, and starts one here if there is neither; "local" always
    starts one. A cluster started here listens on the loopback interface alone.

    Raises UserError if a single machine cannot give what `resources` asks for, StageFailedError if Ray cannot start
    or fails.
    """
    for name, value in DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    level = logging.INFO if verbose else logging.ERROR
    with Line("ray", "starting"):
        # Under `uv run` Ray would let uv build this environment once more for the workers.
        ray._private.ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
        joined = _join_or_start(address, level)
    interruption.install()  # Ray puts a SIGTERM handler of its own there, which aborts
    # The stage itself reports trials that die; Tune would add tracebacks, and Ray a message.
    logging.getLogger("ray.tune").setLevel(level if verbose else logging.CRITICAL)
    if not verbose:
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        if not joined:
            _check_resources(resources)
        with _told_if_it_ends():
            yield Session(joined)
    except RayError as error:
        raise StageFailedError(
            f"Ray failed: {one_line(error, with_type=True)}. The same command does the rest"
        ) from None
    finally:
        _leave()


def _leave() -> None:
    """Leave the cluster. If it is our own, its processes take a second to end, in which the command goes on."""
    node, ray._private.worker._global_node = ray._private.worker._global_node, None
    ray.shutdown()
    if node is not None and node.is_head():
        node.destroy_external_storage()
        _ASIDE.submit(node.kill_all_processes, check_alive=False, allow_graceful=True)


def _join_or_start(address: str | None, level: int) -> bool:
    """Whether a running cluster was joined; otherwise Ray was started on this machine."""
    _ASIDE.submit(int).result()  # an earlier session has ended
    options: dict[str, Any] = {"logging_level": level, "log_to_driver": level <= logging.INFO}
    named = address or os.environ.get("RAY_ADDRESS")
    joined = running_cluster() if named in (None, "", "auto") else named
    if joined is None and named == "auto":
        allowed = "an address, local, or auto after `ray start`"
        raise UserError("--address", reason="auto finds no running cluster", allowed=allowed)
    if joined not in (None, "local"):
        refused = f"{joined} is not a Ray cluster that can be joined"
        place = _host_and_port(joined)
        if place is not None and not answers(*place):  # Ray would wait for minutes
            reason = f"{refused} (nothing answers within {ANSWER_SECONDS:g} s)"
            raise UserError("--address", reason=reason, allowed="HOST:PORT of one, or local")
        try:
            context = ray.init(address=joined, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **options)
            if context.dashboard_url:
                say("ray", f"dashboard at http://{context.dashboard_url}")
            return True
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: another version of Ray
            raise UserError("--address", reason=f"{refused} ({one_line(error)})") from None
    _check_threads()
    # Ray then takes 127.0.0.1 as this machine's address; otherwise it would listen on all interfaces. The variable is
    # for the processes that Ray starts; this process has read it already.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    # Ray's processes inherit it. A runtime_env would rule out the workers that Ray starts in advance.
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        with ThreadPoolExecutor(1) as aside:
            aside.map(import_module, SLOW_IMPORTS)
            ray.init(address="local", include_dashboard=False, _temp_dir=_private_folder(), **options)
    except Exception as error:  # Ray starts many processes: anything may come
        raise StageFailedError(
            f"Ray cannot start on this machine ({shorten(one_line(error, with_type=True), 600)}). It needs a HOME and "
            "a TMPDIR that can be written, room there and in /dev/shm, free ports and the right to start processes; on "
            "a busy machine, RAY_gcs_server_port_wait_time_s=120 waits longer"
        ) from None
    return False


def _check_threads() -> None:
    """StageFailedError if this user may not start the threads that Ray needs; Ray would wait for them forever."""
    enough = threading.Event()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for _ in range(THREADS):
                pool.submit(enough.wait)
        except RuntimeError:
            raise StageFailedError(
                f"Ray cannot start on this machine: this user may not start the {THREADS} threads that it needs "
                "(ulimit -u and -v, or a container's limit of processes). --address none works without Ray"
            ) from None
        finally:
            enough.set()


ENDED = (
    "the command ended at once: somebody killed it, or its memory ran out, or Ray ended it because a process of Ray's "
    "had died. Finished work is kept; the same command continues"
)


@contextmanager
def _told_if_it_ends() -> Iterator[None]:
    """A small process says so if this one ends within the block: when its raylet dies, Ray ends it without a word."""
    process = None
    with suppress(OSError):  # no room for another process
        command = ["sh", "-c", f'trap "" INT TERM; read -r ended || echo "dbviz-ray: {ENDED}" >&2']
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        if process is not None:
            process.communicate(b"ended\n")


def _private_folder() -> str:
    """A folder for what Ray writes, in one that nobody else may enter: Ray lets everybody into its own."""
    place, name = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), f"dbviz-{os.getuid()}"
    if len(os.fsencode(f"{place}/{name}/ray")) > MOST_LETTERS:
        place = "/tmp"
    folder = Path(place, name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    folder.chmod(0o700)
    return str(folder / "ray")


def running_cluster() -> str | None:
    """Address of the cluster that this machine joined with `ray start`, if it answers.

    Ray's own "auto" also finds private clusters of other commands, which end with them.
    """
    address: str | None = ray._private.utils.read_ray_address()
    place = _host_and_port(address or "")
    return address if place is not None and answers(*place) else None


def _host_and_port(address: str) -> tuple[str, int] | None:
    """The parts of HOST:PORT; None for other addresses, such as ray://HOST:PORT."""
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() and "/" not in host else None


def _check_resources(resources: ResourcesConfig) -> None:
    """UserError if the resources exceed this machine; Ray would wait forever."""
    available = ray.cluster_resources()
    for field in ("cpus_per_cohort", "gpus_per_cohort", "cpus_per_evaluator", "gpus_per_evaluator"):
        kind = "CPU" if field.startswith("cpus") else "GPU"
        wanted, there = getattr(resources, field), available.get(kind, 0)
        if wanted > there:
            reason = f"{wanted:g} is not allowed: this machine has {there:g} {kind}s"
            allowed = f"up to {there:g}, or a cluster (cluster.yaml)"
            raise UserError(f"resources.{field}", reason=reason, allowed=allowed)
