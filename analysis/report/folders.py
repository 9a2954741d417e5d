"""Folders of results: whole files in place of an earlier result of the same kind, and of nothing else."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype
from pydantic_core import to_json

from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.store import Store
from dbviz_ray.store.models import provenance


def check_free(store: Store, names: Iterable[str], result: str, kind: str) -> None:
    """UserError for a folder that cannot be written, or that holds files of these names from anything else.

    The JSON file `result` says of which `kind` an earlier result is.
    """
    if store.is_local:
        folder = Path(store.root)
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UserError("out", store.root, reason="cannot be written", allowed="a folder, or a path to create one")
    with suppress(FileNotFoundError, DamagedFileError):
        if store.read_json(result).get("kind") == kind:
            return
    taken = next((name for name in names if store.exists(name)), None)
    if taken is not None:
        raise UserError("out", store.path(taken), reason=f"was not written by a {kind}", allowed="another folder")


def written(store: Store, files: Mapping[str, bytes]) -> list[str]:
    """Write the files, and return their names."""
    with writing(store):
        for name, content in files.items():
            store.write(name, content)
    return list(files)


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """Within the block, files that cannot be written are a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError("out", store.root, reason=f"cannot be written ({error.strerror or error})") from None


def made() -> dict[str, Any]:
    """When a result was made, and with which versions."""
    return {"made": datetime.now(UTC).isoformat(timespec="seconds"), **provenance()}


def json_of(result: Mapping[str, Any]) -> bytes:
    """JSON with null for numbers that are not known."""
    return to_json(result, indent=2, inf_nan_mode="null", fallback=str) + b"\n"


def csv_of(frame: pd.DataFrame) -> bytes:
    """The frame as CSV, in which no name that a user gave is a formula to a spreadsheet or a command to a terminal."""
    text = {name: column if is_numeric_dtype(column) else column.map(_harmless) for name, column in frame.items()}
    content: str = pd.DataFrame(text).to_csv(index=False)
    return content.encode()


def _harmless(value: object) -> object:
    if not isinstance(value, str):
        return value
    shown = "".join(char if char.isprintable() else " " for char in value)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
