"""The planes of a run as people name them, and what is said where a file is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError, UserError


def choose_plane_set(sweep: SweepConfig, name: str | None = None) -> str:
    """The plane set that is called `name`, the sweep's first one by default. UserError if there is none."""
    if name is not None and name not in sweep.planes:
        raise UserError(f"plane set: {name!r} is not one of this run; allowed: {', '.join(sweep.planes)}")
    return name or next(iter(sweep.planes))


def check_plane(sweep: SweepConfig, plane_set: str, plane: int) -> None:
    """UserError unless `plane` is the number of a plane of the set."""
    count = sweep.planes[plane_set].count
    if not 0 <= plane < count:
        raise UserError(f"plane: {plane} is not allowed; allowed: from 0 to {count - 1}")


@contextmanager
def reading(what: str, allowed: str) -> Iterator[None]:
    """UserError where, within the block, a file is absent, which is `what`, or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{what}: is not there; allowed: {allowed}") from None
    except DamagedFileError as error:
        raise UserError(f"{error}; the same command of the sweep makes it again") from None
