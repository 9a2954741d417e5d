"""The stage report: figures, the report, and MLflow."""

from __future__ import annotations

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError
from dbviz_ray.stages import State
from dbviz_ray.store import REPORT_FILE, Store
from dbviz_ray.store.layout import FIGURES, SCORES
from dbviz_ray.terminal.progress import Step


def find_missing(sweep: SweepConfig, store: Store, state: State) -> None:
    """Check whether figures and report are stored and logged."""
    from dbviz_ray.analysis.figures import figures_of
    from dbviz_ray.analysis.tracking import is_tracked

    if state.to_analyse or not store.exists(REPORT_FILE) or not is_tracked(store):
        return
    kinds = figures_of(sweep)  # takes seconds in sweeps of 100,000 models
    files = (store.figure_file(name, suffix) for name in kinds for suffix in kinds[name].suffixes)
    state.reported = all(store.exists(file) for file in files)


def run(sweep: SweepConfig, store: Store, state: State) -> None:
    """Draw the figures, write the report and log to MLflow. StageFailedError if there are no tables."""
    from dbviz_ray.analysis.figures.drawing import draw_figures
    from dbviz_ray.analysis.report.of_sweep import write_report
    from dbviz_ray.analysis.tracking import TrackingUnavailableError, track

    if not state.analysed:
        raise StageFailedError("report needs the scores: run the stage analyse first")
    with Step("report", "drawing figures", "figures and report written") as step:
        draw_figures(store, sweep)
        write_report(store, sweep)
        step.goes_on("logging to MLflow")
        try:
            track(store, sweep)
        except TrackingUnavailableError as error:
            step.say(
                f"MLflow cannot be reached ({error}). Nothing is lost: the results are in {store.root}; "
                "the same command logs them later."
            )


def result_text(store: Store, precision: float | None) -> str:
    """The results, where they are, and how many more trainings or planes `precision` needs."""
    from dbviz_ray.analysis.findings import read_findings
    from dbviz_ray.analysis.findings.advice import advice_text
    from dbviz_ray.analysis.findings.summary import outcomes_text, read_shown_tables, summary_text
    from dbviz_ray.analysis.tables import read_table
    from dbviz_ray.analysis.tracking import where_to_look

    tables = read_shown_tables(store)
    return (
        f"{summary_text(read_findings(store), tables)}\n"
        f"\n{outcomes_text(tables['outcomes'])}\n"
        f"\nReport   {store.path(REPORT_FILE)}\nFigures  {store.path(FIGURES)}\nTables   {store.path(SCORES)}"
        f"\nMLflow   {where_to_look(store)}\n"
        + (f"\n{advice_text(read_table(store, 'uncertainty'), precision)}\n" if precision is not None else "")
    )
