"""Errors of files and loaders as one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbviz_ray.errors import UserError, one_line


@contextmanager
def reading(path: Path, kind: str, remedy: str = "delete it to download it again") -> Iterator[None]:
    """Whatever goes wrong inside becomes a UserError: `path` is not `kind`, and what can be done."""
    try:
        yield
    except Exception as error:  # a broken file makes a reader raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        raise UserError(f"{path}: not {kind} ({one_line(error)}); {remedy}") from None
