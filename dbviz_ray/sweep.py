"""Run a sweep: train, evaluate, analyse, report.

    python -m dbviz_ray.sweep [NAME] [key=value ...]

Every stage does what is missing and nothing else, so the same command starts, continues and repeats.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence

from dbviz_ray.config.sweep_files import embedded_sweeps, load_sweep
from dbviz_ray.errors import UserError
from dbviz_ray.stages import STAGES, Options
from dbviz_ray.store import Store
from dbviz_ray.terminal.arguments import Parser, precision
from dbviz_ray.terminal.commands import run_command
from dbviz_ray.terminal.progress import showing

DEFAULT_SWEEP = "double_descent_digits"


def main(arguments: Sequence[str] | None = None, command: str = "sweep") -> int:
    """The command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(f"dbviz-ray {command}", lambda: _run(words), "the same command continues where this one stopped")


def _run(words: Sequence[str]) -> None:
    parsed = parser().parse_args(words)
    sweep, overrides = _sweep_and_overrides(parsed.sweep)
    config = load_sweep(sweep, overrides)
    if parsed.plan:
        from dbviz_ray.planning.plan import plan

        with showing("plan", "counting, and measuring some training steps"):
            planned = plan(config)
        print(planned)
        return
    from dbviz_ray.stages.run import run_sweep

    options = Options(
        stages=parsed.stages or STAGES,
        chosen=parsed.stages is not None,
        address=parsed.address,
        verbose=parsed.verbose,
        precision=parsed.precision,
    )
    run_sweep(config, Store(parsed.out or f"runs/{config.name}"), options)


def _sweep_and_overrides(words: Sequence[str]) -> tuple[str, list[str]]:
    """The first word is the sweep's name unless it is an override."""
    if words and "=" not in words[0]:
        return words[0], list(words[1:])
    return DEFAULT_SWEEP, list(words)


def _stages(text: str) -> tuple[str, ...]:
    """The stages named in `text`, in their order."""
    named = [stage.strip() for stage in text.split(",")]
    for stage in named:
        if stage not in STAGES:
            raise UserError("", stage, allowed=", ".join(STAGES))
    return tuple(stage for stage in STAGES if stage in named)


def parser() -> Parser:
    """The parser of the command."""
    own = Parser(
        prog="dbviz-ray sweep",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Train every model of a sweep, label planes through images with each of them,\n"
            "score how reproducible and how fragmented their decision regions are, and draw\n"
            "the result. The command does what is missing and nothing else: it also\n"
            "continues an interrupted run, and tells what a finished one found."
        ),
        epilog=(
            "included sweeps:\n"
            + textwrap.fill(", ".join(embedded_sweeps()), 78, initial_indent="  ", subsequent_indent="  ")
            + "\n\nexamples:\n"
            "  dbviz-ray sweep\n"
            "  dbviz-ray sweep double_descent --plan\n"
            "  dbviz-ray sweep double_descent_digits grid.width=[4,16] \\\n"
            "      training.epochs=50 --out runs/small\n"
            "  dbviz-ray sweep my_sweep.yaml --out s3://bucket/my_sweep\n"
            "\nexit codes: 0 done, 1 some models or a stage failed, 2 the sweep or an option\n"
            "cannot be used, 130 and 143 interrupted"
        ),
    )
    add_arguments(own)
    return own


def add_arguments(parser: argparse.ArgumentParser, command: str = "sweep") -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "sweep",
        nargs="*",
        metavar="NAME or key=value",
        help=f"a sweep's name or the path of its .yaml file (default: {DEFAULT_SWEEP}), then fields to override by "
        "their dotted names, with values as in YAML: training.epochs=50 grid.width=[4,16] "
        "(docs/configuration.md lists all fields)",
    )
    parser.add_argument("--plan", action="store_true", help="print what would run and what it costs; run nothing")
    parser.add_argument(
        "--stages",
        type=_stages,
        metavar="STAGE,...",
        help="run only these of train, evaluate, analyse, report (default: all); analyse and report are repeated if "
        "you name them",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="run directory, or an address such as s3://bucket/prefix (default: runs/<sweep>)",
    )
    parser.add_argument(
        "--address",
        help="Ray cluster to use; 'local' starts one on this machine "
        "(default: $RAY_ADDRESS, else a cluster that runs on this machine, else local)",
    )
    parser.add_argument(
        "--precision",
        type=precision,
        metavar="HALF_WIDTH",
        help="also tell how many more seeds or planes a 95 %% interval of this half-width needs, such as 0.01 "
        "(relative for unbounded scores)",
    )
    parser.add_argument("--verbose", action="store_true", help="also show the output of Ray and its workers")


if __name__ == "__main__":
    sys.exit(main())
