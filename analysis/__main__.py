"""Redraw the figures of a finished sweep.

python -m analysis figures RUN [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.figures import FIGURES, draw_figures
from dbviz_ray.arguments import Parser
from dbviz_ray.errors import UserError
from dbviz_ray.store import Store

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        parsed = _parser().parse_args(arguments)
        store = Store(parsed.run)
        for name in draw_figures(store, store.sweep(), parsed.names):
            print(store.path(store.figure_file(name)))
    except UserError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m analysis", description="Redraw the figures of a finished sweep from its tables.")
    commands = parser.add_subparsers(dest="command", required=True)
    figures = commands.add_parser("figures", help="redraw figures, as PNG and PDF")
    figures.add_argument("run", metavar="RUN", help="run directory, such as runs/double_descent_digits")
    figures.add_argument("names", metavar="NAME", nargs="*", help=f"which (default: all it has): {', '.join(FIGURES)}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
