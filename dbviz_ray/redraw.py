"""Draw what a finished sweep found.

python -m analysis figures RUN [NAME ...]
python -m analysis disagreement RUN MODEL MODEL --out FILE
"""

from __future__ import annotations

import argparse
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import rc_context

from dbviz_ray.analysis.figures import FIGURES, SUFFIXES, chosen_figures, draw_figures
from dbviz_ray.analysis.figures.choices import choose_model, choose_plane_set
from dbviz_ray.analysis.figures.disagreement import disagreement_of
from dbviz_ray.analysis.figures.files import encoded
from dbviz_ray.analysis.figures.style import STYLE
from dbviz_ray.analysis.report.of_sweep import REPORT_FILE, write_report
from dbviz_ray.analysis.tables import tables_of
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError, StorageError, UserError, one_line
from dbviz_ray.store import Store
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.arguments import Parser, integer

EXIT_FAILED, EXIT_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    interruption.install()
    try:
        parsed = _parser().parse_args(arguments)
        store = Store(parsed.run)
        for place in parsed.draw(store, store.sweep(), parsed):
            print(place)
    except UserError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (DamagedFileError, StorageError) as error:
        print(f"analysis: {error}", file=sys.stderr)
        return EXIT_FAILED
    except FileNotFoundError as error:
        again = "the command that made this run makes again what is missing"
        print(f"analysis: {parsed.run} is not complete ({one_line(error)}); {again}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("analysis: interrupted", file=sys.stderr)
        return interruption.exit_code()
    return 0


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


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m analysis", description="Draw what a finished sweep found, from its run directory.")
    commands = parser.add_subparsers(dest="command", required=True)
    figures = commands.add_parser(
        "figures",
        help="redraw the sweep's figures",
        description="Redraw the figures of a finished sweep, all or some, from its tables and label maps:\n"
        "as PNG and PDF, moving ones as GIF and tables for LaTeX too, into figures/ of the\nrun directory.",
        epilog="figures, and which sweeps have them:\n"
        + "\n".join(f"  {name:24}{kind.had_by}" for name, kind in FIGURES.items()),
        formatter_class=RawDescriptionHelpFormatter,
    )
    figures.set_defaults(draw=_figures)
    _add_run(figures)
    figures.add_argument("names", metavar="NAME", nargs="*", help="which of those below (default: all it has)")
    pair = commands.add_parser(
        "disagreement",
        help="draw where two of its models disagree on a plane",
        description="Draw one plane as two models of a run see it, and what the second says where it says something "
        "else.",
    )
    pair.set_defaults(draw=_disagreement)
    _add_run(pair)
    pair.add_argument(
        "models",
        metavar="MODEL",
        nargs=2,
        help="a model_id or a part of it that no other model has, such as w64-adam-noise0.2-seed3; with @EPOCH behind "
        "it, as it was after an earlier epoch of which the run keeps a snapshot",
    )
    pair.add_argument("--plane", type=integer, default=0, help="number of the plane (default: 0)")
    pair.add_argument("--plane-set", metavar="NAME", help="the set it is of (default: the sweep's first)")
    pair.add_argument(
        "--out", metavar="FILE", default="disagreement.png", help="a .png or .pdf file (default: disagreement.png)"
    )
    return parser


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
