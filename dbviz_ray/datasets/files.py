"""Files of public data sets: one process of a machine downloads each, once, and completely or not at all."""

import os
import pickle
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from dbviz_ray.errors import UserError, one_line

TIMEOUT_SECONDS = 30
Sources = Iterable[tuple[str, str, str]]


def found(directory: Path, file: str) -> Path | None:
    """The path of `file` or `file`.gz in `directory`; None if neither exists."""
    return next((path for path in (directory / file, directory / f"{file}.gz") if path.is_file()), None)


def ensure(name: str, files: Sequence[str], sources: Callable[[Any], Sources], by_hand: str, directory: Path) -> None:
    """Download a data set's missing `files` into `directory`, relative to which they are; each may also end in .gz.

    `sources` gives from torchvision.datasets: address, path relative to `directory` and MD5 sum; archives are unpacked.
    If that fails, a UserError says what to put there: `by_hand`, which also names where it comes from.
    """
    if not _missing(files, directory):
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / f"{name}.lock"):
            if _missing(files, directory):
                _fetch(files, sources, directory, directory / f".{name}-download")
    except (OSError, RuntimeError, HTTPException, tarfile.TarError) as error:
        reason = f"is not in {directory} and could not be downloaded ({one_line(error)})"
        hint = f"put {by_hand} there, or name the folder that holds it in resources.data_directory"
        raise UserError("dataset.name", name, reason=reason, hint=hint) from None


def _missing(files: Sequence[str], directory: Path) -> list[str]:
    return [file for file in files if found(directory, file) is None]


def _fetch(files: Sequence[str], sources: Callable[[Any], Sources], directory: Path, staging: Path) -> None:
    """Download into a separate folder, `staging`, first: no process sees a half-written file, even after a crash."""
    from torchvision import datasets

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        for url, file, md5 in sources(datasets):
            (staging / file).parent.mkdir(parents=True, exist_ok=True)
            if (directory / file).is_file():  # such as an archive that was put there by hand
                shutil.copyfile(directory / file, staging / file)
            name = "download_and_extract_archive" if file.endswith(".tar.gz") else "download_url"
            fetch = getattr(datasets.utils, name)
            fetch(url, str((staging / file).parent), filename=Path(file).name, md5=md5)
    finally:
        socket.setdefaulttimeout(timeout)
    for file in _missing(files, directory):
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
