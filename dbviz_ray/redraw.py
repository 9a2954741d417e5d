"""Draw what a finished sweep found.

dbviz-ray figures RUN [NAME ...]
dbviz-ray disagreement RUN MODEL MODEL --out FILE
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dbviz_ray.analysis.figures import FIGURES, SUFFIXES, chosen_figures
from dbviz_ray.analysis.figures.sweep_tables import check_plane, choose_model, choose_plane_set
from dbviz_ray.analysis.report import write_report
from dbviz_ray.analysis.tables import tables_of
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError, UserError, one_line
from dbviz_ray.store import REPORT_FILE, PictureKey, Store
from dbviz_ray.terminal.arguments import Parser, integer
from dbviz_ray.terminal.commands import run_command


def main(arguments: Sequence[str] | None = None, command: str | None = None) -> int:
    """Run the command `figures` or `disagreement`; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = (command, words) if command else (words[0], words[1:])
    return run_command(f"dbviz-ray {name}", lambda: _run(name, rest), "the same command draws the rest")


def _run(name: str, words: Sequence[str]) -> None:
    parsed = parser(name).parse_args(words)
    store = Store(parsed.run)
    try:
        for place in parsed.draw(store, store.sweep(), parsed):
            print(place)
    except FileNotFoundError as error:
        raise StageFailedError(
            f"{parsed.run} is not complete ({one_line(error)}); run the command that made it again to complete it"
        ) from None


def _figures(store: Store, sweep: SweepConfig, parsed: argparse.Namespace) -> list[str]:
    """Draw figures; returns their paths. UserError for a run without its tables."""
    from dbviz_ray.analysis.figures.drawing import draw_figures, pictures_shown  # imports matplotlib

    missing = [table for table in tables_of(sweep) if not store.exists(store.scores_file(table))]
    if missing:
        reason = f"has no table {missing[0]}; first run the stage analyse with the command that made the run"
        raise UserError(store.root, reason=reason)
    entries = chosen_figures(sweep, parsed.names)
    if parsed.resolution is not None:
        _take_pictures(store, sweep, pictures_shown(store, sweep, entries), parsed)
    draw_figures(store, sweep, entries)
    if store.exists(REPORT_FILE):  # the report contains these pictures
        write_report(store, sweep)
    return [store.path(store.figure_file(name, suffix)) for name in entries for suffix in entries[name].suffixes]


def _disagreement(store: Store, sweep: SweepConfig, parsed: argparse.Namespace) -> list[str]:
    """Draw where two models disagree; returns the path of the picture."""
    from matplotlib import rc_context

    from dbviz_ray.analysis.figures.disagreement import disagreement_of
    from dbviz_ray.analysis.figures.drawing import encoded
    from dbviz_ray.analysis.figures.style import STYLE

    models = [choose_model(sweep, name) for name in parsed.models]
    plane_set, out = choose_plane_set(sweep, parsed.plane_set), Path(parsed.out)
    check_plane(sweep.planes[plane_set].count, parsed.plane)
    if out.suffix.removeprefix(".") not in SUFFIXES or not out.absolute().parent.is_dir():
        names = " or ".join(f"*.{suffix}" for suffix in SUFFIXES)
        raise UserError("--out", parsed.out, allowed=f"a file {names} in a folder that exists")
    if parsed.resolution is not None:
        keys = [PictureKey(model.model_id, model.epoch, plane_set, parsed.plane) for model in models]
        _take_pictures(store, sweep, keys, parsed)
    with rc_context(STYLE):
        figure = disagreement_of(store, sweep, models, plane_set, parsed.plane)
    try:
        out.write_bytes(encoded(figure, out.suffix.removeprefix(".")))
    except OSError as error:
        raise UserError("--out", parsed.out, reason=f"cannot be written ({one_line(error)})") from None
    return [str(out)]


def _take_pictures(store: Store, sweep: SweepConfig, keys: Iterable[PictureKey], parsed: argparse.Namespace) -> None:
    """Label these planes on a grid of `--resolution` points a side."""
    from dbviz_ray.evaluation.pictures import take_pictures  # imports torch

    take_pictures(store, sweep, keys, parsed.resolution, parsed.trust)


def parser(name: str) -> Parser:
    """The parser of the command `figures` or `disagreement`."""
    own = Parser(prog=f"dbviz-ray {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    if name == "figures":
        own.description = (
            "Draw all or some figures of a finished sweep again, from its tables and label maps.\n"
            "Writes PNG and PDF, also GIF for animations and LaTeX for tables, into figures/ of\n"
            "the run directory."
        )
        own.epilog = "figures, and which sweeps have them:\n" + "\n".join(
            f"  {name:24}{entry.sweeps}" for name, entry in FIGURES.items()
        )
    else:
        own.description = (
            "Draw the decision regions of two models on one plane, and what the second predicts\n"
            "where it disagrees with the first."
        )
    add_arguments(own, name)
    return own


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the arguments of the command `figures` or `disagreement`."""
    parser.add_argument("run", metavar="RUN", help="run directory, such as runs/double_descent_digits")
    parser.add_argument(
        "--resolution",
        type=integer,
        metavar="N",
        help="first label the planes shown on grids of N x N points, in this process, with the models' weights, and "
        "store the result in the run directory; 500 is sharp on a full page (default: the stored grids)",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="CODE",
        help="with --resolution: a package.module:function that the models may use as network or data set; a run that "
        "names other code is refused, because labelling would import and run it",
    )
    if command == "figures":
        parser.set_defaults(draw=_figures)
        parser.add_argument(
            "names", metavar="NAME", nargs="*", help="a figure listed below (default: all of the sweep)"
        )
        return
    parser.set_defaults(draw=_disagreement)
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs=2,
        help="a model_id, or a part that only it has, such as w64-adam-noise0.2-seed3; append @EPOCH for the snapshot "
        "after an earlier epoch",
    )
    parser.add_argument("--plane", type=integer, default=0, help="number of the plane (default: 0)")
    parser.add_argument("--plane-set", metavar="NAME", help="the plane set (default: the sweep's first)")
    parser.add_argument(
        "--out", metavar="FILE", default="disagreement.png", help="a .png or .pdf file (default: disagreement.png)"
    )


if __name__ == "__main__":
    sys.exit(main())
