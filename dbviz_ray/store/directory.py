"""A directory on a local or shared disk or in an object store: bytes, JSON objects and Parquet tables.

A file is absent or whole (see `files`). If a disk or a person changed it since, reading it as what its name says raises
DamagedFileError.
"""

import copy
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from random import SystemRandom
from typing import Any, Self, TypeVar

import pyarrow as pa
from pyarrow import fs

from dbviz_ray.config.addresses import checked_address, checked_name, for_pyarrow
from dbviz_ray.errors import DamagedFileError, StorageError, UserError, one_line
from dbviz_ray.store.drivers import check_driver
from dbviz_ray.store.files import content_of, create_local, create_object, decoded, encoded, owned, put, write_local
from dbviz_ray.store.seals import UNSEALED, seal_of, sealed
from dbviz_ray.terminal.progress import say

PATIENCE_SECONDS = 600.0
"""How long a running sweep waits for its storage: longer than a server restart or a network failover."""

Content = TypeVar("Content")
Result = TypeVar("Result")


class Directory:
    """Files by their names relative to `root`, a path or an address that `checked_address` allows.

    Its only state is its place, so it can be sent to any process. An object store that does not answer is waited for
    during `patience` seconds. All operations raise UserError for a name that could lead outside, FileNotFoundError or
    NotADirectoryError for an absent file, and StorageError if the disk or the store fails.
    """

    def __init__(self, root: str | Path, patience: float = 0.0) -> None:
        address = str(root).removeprefix("file://")
        self.root = checked_address(address) if "://" in address else str(Path(address).expanduser().absolute())
        self.patience = patience
        self.driver = ""

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            filesystem, base = fs.FileSystem.from_uri(self.root if self.is_local else for_pyarrow(self.root))
        except (pa.ArrowInvalid, NotImplementedError) as error:
            reason = f"is neither a directory nor a usable URI ({one_line(error)})"
            raise UserError("--out", self.root, reason=reason) from None
        return filesystem, base.rstrip("/")

    @cached_property
    def _checked(self) -> dict[str, str]:
        """The seals of the files that this process has read as a whole."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "patience": self.patience, "driver": self.driver}

    def patient(self, seconds: float = PATIENCE_SECONDS) -> Self:
        """The same directory with a patience of `seconds`."""
        other = copy.copy(self)
        other.patience = seconds
        return other

    def held_by(self, token: str) -> Self:
        """The same directory for the driver with this token: it writes and deletes only until another takes over."""
        other = copy.copy(self)
        other.driver = token
        return other

    def check_driver(self) -> None:
        """SupersededError if the driver of `held_by` was replaced."""
        if self.driver:
            check_driver(self.held_by(""), self.driver)

    @property
    def is_local(self) -> bool:
        """Whether the run directory is a path of this machine's file system."""
        return "://" not in self.root

    def path(self, name: str) -> str:
        """The full path or address of the file `name`, for people and other programs."""
        place, mark, settings = (self.root, "", "") if self.is_local else self.root.partition("?")
        return f"{place.rstrip('/')}/{checked_name(name)}{mark}{settings}"

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file, wholly or not at all."""
        self.check_driver()
        self._checked.pop(name, None)
        write = write_local if self.is_local else put
        self._tried(name, lambda filesystem, path: write(filesystem, path, content))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file if there is none; returns whether this call did. Each process must write a different `content`.

        Of several processes one succeeds; `files.create_object` names the limits of this in an object store.
        """
        self.check_driver()
        create = create_local if self.is_local else create_object
        return self._tried(name, lambda filesystem, path: create(filesystem, path, content))

    def read(self, name: str) -> bytes:
        """The whole file; FileNotFoundError if it is absent."""
        return self._tried(name, content_of)

    def exists(self, name: str) -> bool:
        """Whether the file exists, and so is whole."""
        return self._tried(name, lambda filesystem, path: bool(filesystem.get_file_info(path).is_file))

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        self.check_driver()
        self._checked.pop(name, None)
        with suppress(FileNotFoundError):
            self._tried(name, lambda filesystem, path: filesystem.delete_file(path))

    def remove_folder(self, name: str) -> None:
        """Delete a folder and its contents if it exists."""
        self.check_driver()
        self._checked.clear()

        def remove(filesystem: Any, path: str) -> None:
            if filesystem.get_file_info(path).type == fs.FileType.Directory:
                filesystem.delete_dir(path)

        with suppress(FileNotFoundError):
            self._tried(name, remove)

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """Names of all files below `folder` that end in `suffix`, in one listing; empty if the folder is absent.

        Leaves out hidden files, which are still being written.
        """

        def listing(filesystem: Any, path: str) -> list[Any]:
            selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
            return filesystem.get_file_info(selector)  # type: ignore[no-any-return]

        before = len(self._place[1]) + 1
        return [
            info.path[before:]
            for info in self._tried(folder, listing)
            if info.base_name.endswith(suffix) and not info.base_name.startswith(".") and info.is_file
        ]

    def holds_anything(self) -> bool:
        """Whether the directory exists and holds a file that is not hidden. UserError if it is a file."""

        def entries(filesystem: Any, path: str) -> list[Any]:
            if filesystem.get_file_info(path).is_file:
                raise UserError("--out", self.root, reason="is a file", allowed="a directory")
            return filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))  # type: ignore[no-any-return]

        return any(not info.base_name.startswith(".") for info in self._tried(None, entries))

    def _within(self, name: str | None) -> tuple[Any, str]:
        """The file system, and the path of a file in it, or of the directory itself."""
        filesystem, base = self._place
        return filesystem, base if name is None else f"{base}/{checked_name(name)}"

    def _tried(self, name: str | None, operation: Callable[[Any, str], Result]) -> Result:
        """The result of `operation` with `_within(name)`, tried again while the store does not answer."""
        place = self._within(name)
        try:
            return waited_for(lambda: operation(*place), 0 if self.is_local else self.patience, self.root)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise StorageError(f"{self.root if name is None else self.path(name)}: {one_line(error)}") from None

    def write_parquet(self, name: str, table: pa.Table, facts: Mapping[str, Any] | None = None) -> None:
        """Store a table; `facts` (anything JSON can hold) go into its metadata."""
        self.write(name, encoded(table, facts or {}))

    def read_parquet(self, name: str) -> tuple[pa.Table, dict[str, Any]]:
        """A stored table and its facts. DamagedFileError if it cannot be read."""
        return self._read_table(name, lambda table, facts: (table, facts))

    def _read_table(
        self, name: str, content: Callable[[pa.Table, dict[str, Any]], Content], rows: slice | None = None
    ) -> Content:
        """`content` of a stored table, or some of its rows, and its facts. DamagedFileError if that fails."""
        if rows is not None and name in self._checked:  # pages have checksums of their own
            filesystem, path = self._within(name)
            try:
                with filesystem.open_input_file(path) as stream:
                    return content(*decoded(stream, rows))
            except (FileNotFoundError, MemoryError):
                raise
            except Exception:  # damaged, or the network failed meanwhile: reading the whole file tells which
                self._checked.pop(name, None)

        def decode(whole: bytes) -> Content:
            self._checked[name] = seal_of(whole)
            return content(*decoded(pa.BufferReader(owned(whole)), rows))

        return self.read_as(name, decode)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a JSON object."""
        self.write(name, sealed((json.dumps({**content, **UNSEALED}, indent=2, sort_keys=True) + "\n").encode()))

    def read_json(self, name: str) -> dict[str, Any]:
        """A stored JSON object. DamagedFileError if it is none."""

        def decode(whole: bytes) -> dict[str, Any]:
            content = json.loads(whole)
            if not isinstance(content, dict):
                raise ValueError("not a JSON object")
            content.pop("seal", None)
            return content

        return self.read_as(name, decode)

    def _wanted_seal(self, name: str) -> str:
        """The seal that another file says this one has; empty if none does."""
        return ""

    def read_as(self, name: str, decode: Callable[[bytes], Content], wanted: str | None = None) -> Content:
        """What `decode` makes of a file whose seal is right: `wanted`, by default what another file says it is.

        DamagedFileError if it is damaged or another version; a bad read is repeated once before that.
        """
        wanted = self._wanted_seal(name) if wanted is None else wanted
        for last_try in (False, True):
            whole = self.read(name)
            try:
                if seal_of(whole) != wanted and wanted:
                    raise ValueError("it is not the version that belongs to the other files")
                return decode(whole)
            except MemoryError:
                raise
            except Exception as error:  # damaged bytes raise errors of many kinds
                if last_try:
                    raise DamagedFileError(name, self.path(name), one_line(error)) from None
        raise AssertionError("unreachable")

    def seal(self, name: str) -> str:
        """The seal of a file; empty without one."""
        if name not in self._checked:
            self._checked[name] = self.read_as(name, seal_of, wanted="")
        return self._checked[name]


FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
"""Waits between tries, each twice the one before. A try takes 6 s if nothing answers, and up to 100 s if a server
accepts the connection and stays silent, since pyarrow tries again on its own."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_LASTING = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|NO_SUCH_BUCKET|HTTP status (3|4(?!08|29))\d\d"  # S3
    r"|PERMISSION_DENIED|UNAUTHENTICATED|NOT_FOUND|INVALID_ARGUMENT"  # Google
    r"|Authenticat|Authoriz|ContainerNotFound"  # Azure
)
_random = SystemRandom()  # `random` may be seeded alike everywhere, but workers must not all come back at once


def may_pass(error: OSError) -> bool:
    """Whether the operation may succeed later: not if a permission, key, bucket or file is missing."""
    return not isinstance(error, _ABSENT) and not _LASTING.search(str(error))


def waited_for(operation: Callable[[], Result], seconds: float, place: str) -> Result:
    """The result of `operation`, tried again for `seconds` while it fails with an OSError that may pass.

    Says once on standard error that it waits for `place`, and once that `place` is back. Raises the last OSError.
    """
    began, wait, waited = time.monotonic(), FIRST_WAIT_SECONDS, False
    while True:
        answers = False
        try:
            result = operation()
            answers = True
            return result
        except OSError as error:
            left = seconds - (time.monotonic() - began)
            answers = not may_pass(error)  # such as that there is no such file
            if answers or left <= 0:
                raise
            if not waited:
                say("storage", f"{place} fails ({one_line(error)}); trying for {left:.0f} s more")
            waited = True
            time.sleep(min(wait * _random.uniform(0.5, 1), left))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        finally:
            if waited and answers:
                say("storage", f"{place} is there again after {time.monotonic() - began:.0f} s")
