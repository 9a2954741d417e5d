"""Files of public data sets: one process of a machine downloads each, once, and completely or not at all."""

import os
import pickle
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from dbviz_ray.errors import UserError, one_line

TIMEOUT_SECONDS = 30
Sources = Iterable[tuple[str, str, str]]


@dataclass(frozen=True)
class Download:
    """A data set's files and how to fetch them."""

    name: str
    """As in `dataset.name`."""
    files: tuple[str, ...]
    """Paths relative to the data directory; each may also end in .gz."""
    sources: Callable[[Any], Sources]
    """From torchvision.datasets: address, path relative to the data directory and MD5 sum; archives are unpacked."""
    by_hand: str
    """What a user without a network puts into the data directory, and where it comes from."""


def found(directory: Path, file: str) -> Path | None:
    """The path of `file` or `file`.gz in `directory`; None if neither exists."""
    return next((path for path in (directory / file, directory / f"{file}.gz") if path.is_file()), None)


def ensure(download: Download, directory: Path) -> None:
    """Download missing files into `directory`. If that fails, a UserError says which files to put where."""
    if not _missing(download, directory):
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / f"{download.name}.lock"):
            if _missing(download, directory):
                _fetch(download, directory)
    except (OSError, RuntimeError, HTTPException, tarfile.TarError) as error:
        reason = f"is not in {directory} and could not be downloaded ({one_line(error)})"
        hint = f"put {download.by_hand} there, or name the folder that holds it in resources.data_directory"
        raise UserError("dataset.name", download.name, reason=reason, hint=hint) from None


def _missing(download: Download, directory: Path) -> list[str]:
    return [file for file in download.files if found(directory, file) is None]


def _fetch(download: Download, directory: Path) -> None:
    """Download into a separate folder first: no process sees a half-written file, even after a crash."""
    from torchvision import datasets

    staging = directory / f".{download.name}-download"
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        for url, file, md5 in download.sources(datasets):
            (staging / file).parent.mkdir(parents=True, exist_ok=True)
            if (directory / file).is_file():  # such as an archive that was put there by hand
                shutil.copyfile(directory / file, staging / file)
            name = "download_and_extract_archive" if file.endswith(".tar.gz") else "download_url"
            fetch = getattr(datasets.utils, name)
            fetch(url, str((staging / file).parent), filename=Path(file).name, md5=md5)
    finally:
        socket.setdefaulttimeout(timeout)
    for file in _missing(download, directory):
        fetched = found(staging, file)
        if fetched is None:
            raise RuntimeError(f"{file} is not in the download")
        target = directory / fetched.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(fetched, target)
    shutil.rmtree(staging)


@contextmanager
def reading(path: Path, kind: str, remedy: str = "delete it to download it again") -> Iterator[None]:
    """Turn any error inside into a UserError: `path` is not `kind`, and the remedy."""
    try:
        yield
    except Exception as error:  # a broken file makes a reader raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(str(path), reason=f"cannot be read ({error.strerror})") from None
        raise UserError(str(path), reason=f"not {kind} ({one_line(error)})", hint=remedy) from None


def unpickled(path: Path) -> dict[bytes, Any]:
    """The dictionary of arrays, lists and strings in a CIFAR file; UnpicklingError for any other object."""
    with path.open("rb") as stream:
        content: dict[bytes, Any] = _ArrayUnpickler(stream, encoding="bytes").load()
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not a dictionary")
    return content


class _ArrayUnpickler(pickle.Unpickler):
    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self._ALLOWED:
            return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            import _codecs

            return _codecs.encode
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
