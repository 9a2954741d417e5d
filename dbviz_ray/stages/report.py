"""The stage report: figures, the report, and MLflow."""

from typing import TYPE_CHECKING

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError
from dbviz_ray.stages import Options, State
from dbviz_ray.store import REPORT_FILE, Store
from dbviz_ray.store.layout import FIGURES, FIGURES_RECORD, SCORES
from dbviz_ray.terminal.progress import Step, say

if TYPE_CHECKING:
    from dbviz_ray.analysis.tracking import TrackingBeside


def find_missing(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """Check whether figures and report are stored and logged."""
    if state.to_analyse or not store.exists(REPORT_FILE):
        return
    from dbviz_ray.analysis.tracking import is_tracked

    changed = store.changed(FIGURES_RECORD)
    state.drawn = not changed and all(store.exists(file) for file in files_of_report(store, sweep))
    state.changed += changed or []
    state.reported = state.drawn and is_tracked(store)


def files_of_report(store: Store, sweep: SweepConfig) -> list[str]:
    """The report and its figures."""
    from dbviz_ray.analysis.figures import figures_of

    kinds = figures_of(sweep)  # takes seconds in sweeps of 100,000 models
    return [REPORT_FILE, *(store.figure_file(name, suffix) for name in kinds for suffix in kinds[name].suffixes)]


def run(sweep: SweepConfig, store: Store, options: Options, state: State, beside: "TrackingBeside") -> None:
    """Draw the figures, write the report, let the process `beside` log to MLflow, and print the result.

    Raises StageFailedError if there are no tables.
    """
    from dbviz_ray.analysis.figures.drawing import draw_figures
    from dbviz_ray.analysis.report.sweep_report import write_report
    from dbviz_ray.analysis.tracking import TrackingUnavailableError

    if state.reported and not options.chosen:
        return
    if not state.analysed:
        raise StageFailedError(
            f"{store.path(state.changed[0])} is not as it was written; the same command with --stages analyse,report "
            "makes it again"
            if state.changed
            else "report needs the scores: run the stage analyse first"
        )
    for name in state.changed if not state.drawn else ():
        say("report", f"{store.path(name)} is not as it was written and is made again")
    with Step("report", "drawing figures", "figures and report written") as step:
        beside.analysed()
        if options.chosen or not state.drawn:
            draw_figures(store, sweep)
            write_report(store, sweep)
            store.record(FIGURES_RECORD, files_of_report(store, sweep))
        step.goes_on("logging to MLflow")
        try:
            beside.drawn()
        except TrackingUnavailableError as error:
            step.say(
                f"MLflow cannot be reached ({error}). Nothing is lost: the results are in {store.root}; "
                "the same command logs them later."
            )
    print(result_text(store, options))


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
