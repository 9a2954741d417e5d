"""Draw what a finished sweep found.

dbviz-ray figures RUN [NAME ...]
dbviz-ray disagreement RUN MODEL MODEL --out FILE
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbviz_ray.analysis.figures import FIGURES, SUFFIXES, figures_of
from dbviz_ray.analysis.figures.sweep_tables import choose_model, choose_plane_set
from dbviz_ray.analysis.report.sweep_report import write_report
from dbviz_ray.analysis.tables import tables_of
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError, UserError, one_line
from dbviz_ray.store import REPORT_FILE, PictureKey, Store
from dbviz_ray.store.layout import FIGURES_RECORD
from dbviz_ray.terminal import run_command
from dbviz_ray.terminal.arguments import Parser, integer, option


@dataclass(frozen=True)
class Drawing:
    """What both commands ask for."""

    run: str = option("run", "run directory, such as runs/double_descent_digits", metavar="RUN")
    resolution: int | None = option(
        "--resolution", "first label the planes shown on grids of N x N points, in this process, with the models' "
        "weights, and store the result in the run directory; 500 is sharp on a full page (default: the stored grids)",
        type=integer, metavar="N",
    )  # fmt: skip
    trusted: tuple[str, ...] = option(
        "--trust", "with --resolution: a package.module:function that the models may use as network or data set; a run "
        "that names other code is refused, because labelling would import and run it", (), action="append",
        metavar="CODE",
    )  # fmt: skip

    def take_pictures(self, store: Store, sweep: SweepConfig, keys: Iterable[PictureKey]) -> None:
        """Label these planes on a grid of `resolution` points a side, if it is given."""
        if self.resolution is not None:
            from dbviz_ray.evaluation.pictures import take_pictures  # imports torch

            take_pictures(store, sweep, keys, self.resolution, self.trusted)


@dataclass(frozen=True)
class Figures(Drawing):
    """All or some figures of a finished sweep."""

    names: tuple[str, ...] = option(
        "names", "a figure listed below (default: all of the sweep)", (), nargs="*", metavar="NAME"
    )

    def draw(self, store: Store, sweep: SweepConfig) -> list[str]:
        """Draw figures; returns their paths. UserError for a run without its tables."""
        from dbviz_ray.analysis.figures.drawing import draw_figures, pictures_shown  # imports matplotlib

        missing = [table for table in tables_of(sweep) if not store.exists(store.scores_file(table))]
        if missing:
            reason = f"has no table {missing[0]}; first run the stage analyse with the command that made the run"
            raise UserError(store.root, reason=reason)
        entries = figures_of(sweep, self.names)
        if self.resolution is not None:
            self.take_pictures(store, sweep, pictures_shown(store, sweep, entries))
        draw_figures(store, sweep, entries)
        files = [store.figure_file(name, suffix) for name in entries for suffix in entries[name].suffixes]
        report = [REPORT_FILE] if store.exists(REPORT_FILE) else []
        if report:  # it contains these pictures
            write_report(store, sweep)
        store.record(FIGURES_RECORD, [*files, *report], others=True)
        return [store.path(file) for file in files]


@dataclass(frozen=True)
class Disagreement(Drawing):
    """The decision regions of two models on one plane, and where they disagree."""

    models: tuple[str, ...] = option(
        "models", "a model_id, or a part that only it has, such as w64-adam-noise0.2-seed3; append @EPOCH for the "
        "snapshot after an earlier epoch", nargs=2, metavar="MODEL",
    )  # fmt: skip
    plane: int = option("--plane", "number of the plane", 0, type=integer)
    plane_set: str | None = option("--plane-set", "the plane set (default: the sweep's first)", metavar="NAME")
    out: str = option("--out", "a .png or .pdf file", "disagreement.png", metavar="FILE")

    def draw(self, store: Store, sweep: SweepConfig) -> list[str]:
        """Draw where two models disagree; returns the path of the picture."""
        from matplotlib import rc_context

        from dbviz_ray.analysis.figures.disagreement import disagreement_of
        from dbviz_ray.analysis.figures.drawing import encoded
        from dbviz_ray.analysis.figures.style import STYLE

        models = [choose_model(sweep, name) for name in self.models]
        plane_set, out = choose_plane_set(sweep, self.plane_set, self.plane), Path(self.out)
        if out.suffix.removeprefix(".") not in SUFFIXES or not out.absolute().parent.is_dir():
            names = " or ".join(f"*.{suffix}" for suffix in SUFFIXES)
            raise UserError("--out", self.out, allowed=f"a file {names} in a folder that exists")
        keys = [PictureKey(model.model_id, model.epoch, plane_set, self.plane) for model in models]
        self.take_pictures(store, sweep, keys)
        with rc_context(STYLE):
            figure = disagreement_of(store, sweep, models, plane_set, self.plane)
        try:
            out.write_bytes(encoded(figure, out.suffix.removeprefix(".")))
        except OSError as error:
            raise UserError("--out", self.out, reason=f"cannot be written ({one_line(error)})") from None
        return [str(out)]


def main(words: Sequence[str], command: str) -> int:
    """Run the command `figures` or `disagreement`; returns its exit code."""
    return run_command(f"dbviz-ray {command}", lambda: _run(command, words), "the same command draws the rest")


def _run(name: str, words: Sequence[str]) -> None:
    kind = {"figures": Figures, "disagreement": Disagreement}[name]
    figures = "\n".join(f"  {entry.name:24}{entry.sweeps}" for entry in FIGURES.values())
    request: Figures | Disagreement = kind(**vars(Parser(name, kind, figures=figures).parse_args(words)))
    store = Store(request.run)
    try:
        print(*request.draw(store, store.sweep()), sep="\n")
    except FileNotFoundError as error:
        raise StageFailedError(
            f"{request.run} is not complete ({one_line(error)}); run the command that made it again to complete it"
        ) from None
