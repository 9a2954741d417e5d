"""Draw what a finished sweep found.

dbviz-ray figures RUN [NAME ...]
dbviz-ray disagreement RUN MODEL MODEL --out FILE
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import rc_context

from dbviz_ray.analysis.figures import FIGURES, SUFFIXES, chosen_figures
from dbviz_ray.analysis.figures.choices import choose_model, choose_plane_set
from dbviz_ray.analysis.figures.disagreement import disagreement_of
from dbviz_ray.analysis.figures.drawing import draw_figures, encoded
from dbviz_ray.analysis.figures.style import STYLE
from dbviz_ray.analysis.report.of_sweep import write_report
from dbviz_ray.analysis.tables import tables_of
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError, UserError, one_line
from dbviz_ray.store import REPORT_FILE, Store
from dbviz_ray.terminal.arguments import Parser, integer
from dbviz_ray.terminal.commands import run_command


def main(arguments: Sequence[str] | None = None, command: str | None = None) -> int:
    """One of the commands `figures` and `disagreement`; returns its exit code."""
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
            f"{parsed.run} is not complete ({one_line(error)}); the command that made this run makes what is missing"
        ) from None


def _check_analysed(store: Store, sweep: SweepConfig) -> None:
    """UserError for a run whose tables are not there."""
    missing = [table for table in tables_of(sweep) if not store.exists(store.scores_file(table))]
    if missing:
        raise UserError(
            f"{store.root}: holds no table {missing[0]} of scores; run the stage analyse first, "
            "with the command that made this run"
        )


def _figures(store: Store, sweep: SweepConfig, parsed: argparse.Namespace) -> list[str]:
    """Draw figures; returns where they are."""
    _check_analysed(store, sweep)
    kinds = chosen_figures(sweep, parsed.names)

    def ask(asked: Store) -> None:
        for kind in kinds.values():
            kind.draw(asked, sweep)
            if kind.animate is not None:
                kind.animate(asked, sweep)

    _finer(store, sweep, ask, parsed)
    draw_figures(store, sweep, kinds)
    if store.exists(REPORT_FILE):  # it holds these pictures
        write_report(store, sweep)
    return [store.path(store.figure_file(name, suffix)) for name, kind in kinds.items() for suffix in kind.suffixes]


def _disagreement(store: Store, sweep: SweepConfig, parsed: argparse.Namespace) -> list[str]:
    """Draw where two models disagree; returns where that is."""
    models = choose_model(sweep, parsed.models[0]), choose_model(sweep, parsed.models[1])
    plane_set, out = choose_plane_set(sweep, parsed.plane_set), Path(parsed.out)
    if out.suffix.removeprefix(".") not in SUFFIXES or not out.absolute().parent.is_dir():
        raise UserError(
            f"--out: {out} is not allowed; allowed: a file in a folder that is there, called "
            + " or ".join(f"*.{suffix}" for suffix in SUFFIXES)
        )
    _finer(store, sweep, lambda asked: disagreement_of(asked, sweep, models, plane_set, parsed.plane), parsed)
    with rc_context(STYLE):
        figure = disagreement_of(store, sweep, models, plane_set, parsed.plane)
    try:
        out.write_bytes(encoded(figure, out.suffix.removeprefix(".")))
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written ({one_line(error)})") from None
    return [str(out)]


def _finer(store: Store, sweep: SweepConfig, draw: Callable[[Store], object], parsed: argparse.Namespace) -> None:
    """Take the pictures that `draw` shows on as fine a grid as the command line asks for."""
    if parsed.resolution is not None:
        from dbviz_ray.evaluation.pictures import take_finer_pictures  # imports torch

        take_finer_pictures(store, sweep, draw, parsed.resolution, parsed.trust)


def parser(name: str) -> Parser:
    """The parser of one of the two commands."""
    own = Parser(prog=f"dbviz-ray {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    if name == "figures":
        own.description = (
            "Draw the figures of a finished sweep again, all or some, from its tables and label\n"
            "maps: as PNG and PDF, moving ones also as GIF and tables for LaTeX, into figures/\n"
            "of the run directory."
        )
        own.epilog = "figures, and which sweeps have them:\n" + "\n".join(
            f"  {name:24}{kind.sweeps}" for name, kind in FIGURES.items()
        )
    else:
        own.description = (
            "Draw one plane as two models of a run see it, and what the second one predicts\n"
            "where it disagrees with the first."
        )
    add_arguments(own, name)
    return own


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the arguments of one of the two commands."""
    _add_run(parser)
    if command == "figures":
        parser.set_defaults(draw=_figures)
        parser.add_argument("names", metavar="NAME", nargs="*", help="which of those below (default: all it has)")
        return
    parser.set_defaults(draw=_disagreement)
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs=2,
        help="a model_id, or a part of it that no other model has, such as w64-adam-noise0.2-seed3; with @EPOCH, the "
        "model after an earlier epoch, if the run keeps a snapshot of it",
    )
    parser.add_argument("--plane", type=integer, default=0, help="number of the plane (default: 0)")
    parser.add_argument("--plane-set", metavar="NAME", help="the plane set (default: the sweep's first)")
    parser.add_argument(
        "--out", metavar="FILE", default="disagreement.png", help="a .png or .pdf file (default: disagreement.png)"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run directory, such as runs/double_descent_digits")
    parser.add_argument(
        "--resolution",
        type=integer,
        metavar="N",
        help="first label the planes that are shown on grids of N x N points, with the models' weights and in this "
        "process, and store that in the run directory; 500 is crisp at the size of a page (default: what is stored)",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="CODE",
        help="with --resolution: package.module:function that the models may name as their network or data set; "
        "without it a run that names code is refused, since that code would be imported and run",
    )


if __name__ == "__main__":
    sys.exit(main())
