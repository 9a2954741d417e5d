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
from dbviz_ray.errors import StorageError, UserError
from dbviz_ray.stages.run import STAGES, Options, StageFailedError, run_sweep
from dbviz_ray.store import Store
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.arguments import Parser, precision
from dbviz_ray.terminal.display import showing

DEFAULT_SWEEP = "double_descent_digits"
EXIT_FAILED, EXIT_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    interruption.install()
    try:
        parsed = _parser().parse_intermixed_args(arguments)
        sweep, overrides = _sweep_and_overrides(parsed.sweep)
        config = load_sweep(sweep, overrides)
        if parsed.plan:
            from dbviz_ray.planning.plan import plan

            with showing("plan", "counting, and measuring some training steps"):
                planned = plan(config)
            print(planned)
            return 0
        stages = _stages(parsed.stages)
        options = Options(stages, parsed.stages is not None, parsed.address, parsed.verbose, parsed.precision)
        run_sweep(config, Store(parsed.out or f"runs/{config.name}"), options)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"dbviz_ray.sweep: {line}", file=sys.stderr)
        return EXIT_USAGE
    except StageFailedError as error:
        print(f"dbviz_ray.sweep: {error}", file=sys.stderr)
        return EXIT_FAILED
    except StorageError as error:
        print(f"dbviz_ray.sweep: {error}. What is done is kept; the same command does the rest", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("dbviz_ray.sweep: interrupted; the same command continues where it stopped", file=sys.stderr)
        return interruption.exit_code()
    return 0


def _sweep_and_overrides(words: Sequence[str]) -> tuple[str, list[str]]:
    """The first word is the sweep's name unless it is an override."""
    if words and "=" not in words[0]:
        return words[0], list(words[1:])
    return DEFAULT_SWEEP, list(words)


def _stages(text: str | None) -> tuple[str, ...]:
    if text is None:
        return STAGES
    named = [stage.strip() for stage in text.split(",")]
    for stage in named:
        if stage not in STAGES:
            raise UserError(f"--stages: {stage!r} is not allowed; allowed: {', '.join(STAGES)}")
    return tuple(stage for stage in STAGES if stage in named)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m dbviz_ray.sweep",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Train every model of a sweep, label planes through images with each of them,\n"
            "score how reproducible and how fragmented their decision regions are, and draw\n"
            "the result. Doing what is missing and nothing else, the same command also\n"
            "continues an interrupted run, and says of a finished one what it found."
        ),
        epilog=(
            "sweeps that ship with the package:\n"
            + textwrap.fill(", ".join(embedded_sweeps()), 78, initial_indent="  ", subsequent_indent="  ")
            + "\n\nexamples:\n"
            "  python -m dbviz_ray.sweep\n"
            "  python -m dbviz_ray.sweep double_descent --plan\n"
            "  python -m dbviz_ray.sweep double_descent_digits grid.width=[4,16] \\\n"
            "      training.epochs=50 --out runs/small\n"
            "  python -m dbviz_ray.sweep my_sweep.yaml --out s3://bucket/my_sweep\n"
            "\nexit codes: 0 done, 1 some models failed or a stage could not be done,\n"
            "2 the sweep or an option is not usable, 130 and 143 interrupted"
        ),
    )
    parser.add_argument(
        "sweep",
        nargs="*",
        metavar="NAME or key=value",
        help=f"a sweep's name or a path to its .yaml file (default: {DEFAULT_SWEEP}), then fields to override by "
        "their dotted names, with values as in YAML: training.epochs=50 grid.width=[4,16] "
        "(docs/configuration.md has all fields)",
    )
    parser.add_argument("--plan", action="store_true", help="print what would run and what it costs; run nothing")
    parser.add_argument(
        "--stages",
        metavar="STAGE,...",
        help="which of train, evaluate, analyse, report to run (default: all); analyse and report, "
        "named here, are done again even if they are complete",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="run directory, or a URI such as s3://bucket/prefix (default: runs/<sweep>)",
    )
    parser.add_argument(
        "--address",
        help="Ray cluster to use; 'local' starts one on this machine "
        "(default: $RAY_ADDRESS, else a cluster running on this machine, else local)",
    )
    parser.add_argument(
        "--precision",
        type=precision,
        metavar="REACH",
        help="also tell how many more seeds or planes would bring each score's 95 %% interval to at most REACH on "
        "either side (of scores that are no shares: REACH times the score), such as 0.01",
    )
    parser.add_argument("--verbose", action="store_true", help="show what Ray and its workers say too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
