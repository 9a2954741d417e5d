"""Run a sweep: train, evaluate, analyse, report.

    python -m dbviz_ray.sweep [NAME] [key=value ...]

Every stage does what is missing and nothing else, so the same command starts, continues and repeats.
"""

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from dbviz_ray.config.sweep_files import embedded_sweeps, load_sweep
from dbviz_ray.stages import Options
from dbviz_ray.store import Store
from dbviz_ray.terminal import run_command
from dbviz_ray.terminal.arguments import Parser, option
from dbviz_ray.terminal.progress import Line

DEFAULT_SWEEP = "double_descent_digits"


@dataclass(frozen=True)
class Request(Options):
    """What a command line asks for."""

    sweep: tuple[str, ...] = option(
        "sweep", f"a sweep's name or the path of its .yaml file (default: {DEFAULT_SWEEP}), then fields to override by "
        "their dotted names, with values as in YAML: training.epochs=50 grid.width=[4,16] (docs/configuration.md lists "
        "all fields)", (), nargs="*", metavar="NAME or key=value",
    )  # fmt: skip
    plan: bool = option("--plan", "print what would run and what it costs; run nothing", False, action="store_true")
    out: str | None = option(
        "--out", "run directory, or an address such as s3://bucket/prefix (default: runs/<sweep>)", metavar="DIR"
    )


def main(arguments: Sequence[str] | None = None, command: str = "sweep") -> int:
    """The command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(f"dbviz-ray {command}", lambda: _run(words), "the same command continues where this one stopped")


def _run(words: Sequence[str]) -> None:
    request = Request(**vars(parser().parse_args(words)))
    config = load_sweep(*sweep_and_overrides(request.sweep))
    if request.plan:
        from dbviz_ray.planning.plan import plan

        with Line("plan", "counting, and measuring some training steps"):
            planned = plan(config)
        print(planned)
        return
    from dbviz_ray.stages.run import run_sweep

    run_sweep(config, Store(request.out or f"runs/{config.name}"), request)


def sweep_and_overrides(words: Sequence[str]) -> tuple[str, list[str]]:
    """The first word is the sweep's name unless it is an override."""
    if words and "=" not in words[0]:
        return words[0], list(words[1:])
    return DEFAULT_SWEEP, list(words)


def parser() -> Parser:
    """The parser of the command."""
    sweeps = textwrap.fill(", ".join(embedded_sweeps()), 78, initial_indent="  ", subsequent_indent="  ")
    return Parser("sweep", Request, sweeps=sweeps)


if __name__ == "__main__":
    sys.exit(main())
