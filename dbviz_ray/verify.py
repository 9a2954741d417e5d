"""Check every file of a run directory: dbviz-ray verify RUN."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from dbviz_ray.errors import StageFailedError
from dbviz_ray.store import Store
from dbviz_ray.store.lease import Lease
from dbviz_ray.terminal import run_command
from dbviz_ray.terminal.arguments import Parser, option
from dbviz_ray.terminal.progress import Step


@dataclass(frozen=True)
class Verification:
    """Whether the files of a run are as they were written."""

    run: str = option("run", "run directory, such as runs/double_descent_digits", metavar="RUN")
    drop: bool = option("--drop", "delete damaged files and what was made with them", False, action="store_true")


def main(words: Sequence[str], command: str) -> int:
    """Run the command; returns its exit code."""
    return run_command(f"dbviz-ray {command}", lambda: _verify(words), "the same command starts again")


def _verify(words: Sequence[str]) -> None:
    """Name, or drop, every file that is not as it was written.

    StageFailedError if there is one that stays, UserError without a run or if a driver works on it.
    """
    request = Verification(**vars(Parser("verify", Verification).parse_args(words)))
    store = Store(request.run)
    store.sweep()
    with (
        Lease(store) if request.drop else nullcontext() as lease,
        Step("verify", "reading files", "files read") as step,
    ):
        found = [damage for _, damage in store.verified()]
        damaged = [damage for damage in found if damage is not None]
        store = store.held_by(lease.token) if lease else store
        for damage in damaged:
            step.say(str(damage))
            if request.drop:
                store.drop(damage.name)
    counts = f"{len(damaged):,} of {len(found):,} files are damaged"
    if damaged and not request.drop:
        raise StageFailedError(
            f"{counts}; with --drop they are deleted, and the command that made the run remakes them"
        )
    if damaged:
        print(f"{counts} and were deleted; the command that made the run makes them again")
    else:
        print(f"{len(found):,} files are as they were written")
