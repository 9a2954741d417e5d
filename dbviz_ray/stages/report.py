"""The stage report: figures, the report, and MLflow."""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cache

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError
from dbviz_ray.stages import Options, State
from dbviz_ray.store import REPORT_FILE, Store
from dbviz_ray.store.layout import FIGURES, SCORES
from dbviz_ray.terminal.progress import Step

DRAWING = "import pickle, sys; from dbviz_ray.stages.report import draw; draw(*pickle.load(sys.stdin.buffer))"


def find_missing(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """Check whether figures and report are stored and logged."""
    if state.to_analyse or not store.exists(REPORT_FILE):
        return
    from dbviz_ray.analysis.figures import figures_of
    from dbviz_ray.analysis.tracking import is_tracked

    kinds = figures_of(sweep)  # takes seconds in sweeps of 100,000 models
    files = (store.figure_file(name, suffix) for name in kinds for suffix in kinds[name].suffixes)
    state.drawn = all(store.exists(file) for file in files)
    state.reported = state.drawn and is_tracked(store)


def run(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """Draw the figures, write the report, log to MLflow and print the result.

    Raises StageFailedError if there are no tables.
    """
    from dbviz_ray.analysis.tracking import TrackingUnavailableError, track

    if state.reported and not options.chosen:
        return
    if not state.analysed:
        raise StageFailedError("report needs the scores: run the stage analyse first")
    drawing = _drawn_beside(store, sweep) if options.chosen or not state.drawn else nullcontext(lambda: None)
    with Step("report", "drawing figures, logging to MLflow", "figures and report written") as step, drawing as drawn:
        try:
            track(store, sweep, drawn)
            drawn()
        except TrackingUnavailableError as error:
            drawn()  # raises its own error, if that was it
            step.say(
                f"MLflow cannot be reached ({error}). Nothing is lost: the results are in {store.root}; "
                "the same command logs them later."
            )
    print(result_text(store, options))


@contextmanager
def _drawn_beside(store: Store, sweep: SweepConfig) -> Iterator[Callable[[], None]]:
    """Another process draws while the block runs; the block gets a function that waits for it.

    If that process fails, whatever the reason, the function draws here, and so raises the same errors.
    """
    process, none = None, subprocess.DEVNULL
    with ExitStack() as ends, tempfile.TemporaryFile() as given:
        pickle.dump((store, sweep), given)
        given.seek(0)
        with suppress(OSError):
            process = subprocess.Popen([sys.executable, "-c", DRAWING], stdin=given, stdout=none, stderr=none)
            ends.enter_context(process)  # waits for its end
            ends.callback(process.kill)
        yield cache(lambda: draw(store, sweep) if process is None or process.wait() else None)


def draw(store: Store, sweep: SweepConfig) -> None:
    """Draw the figures and write the report."""
    from dbviz_ray.analysis.figures.drawing import draw_figures
    from dbviz_ray.analysis.report import write_report

    draw_figures(store, sweep)
    write_report(store, sweep)


def result_text(store: Store, options: Options) -> str:
    """The results, where they are and, with `precision`, how many more trainings or planes it needs."""
    from dbviz_ray.analysis.findings import read_findings
    from dbviz_ray.analysis.findings.summary import advice_text, outcomes_text, read_shown_tables, summary_text
    from dbviz_ray.analysis.tables import read_table
    from dbviz_ray.analysis.tracking import where_to_look

    tables = read_shown_tables(store)
    parts = [
        summary_text(read_findings(store), tables),
        outcomes_text(tables["outcomes"]),
        f"Report   {store.path(REPORT_FILE)}\nFigures  {store.path(FIGURES)}\nTables   {store.path(SCORES)}\n"
        f"MLflow   {where_to_look(store)}",
    ]
    if options.precision is not None:
        parts.append(advice_text(read_table(store, "uncertainty"), options.precision))
    return "\n\n".join(parts) + "\n"
