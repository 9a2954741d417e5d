"""A directory on a local or shared disk, or any URI that pyarrow.fs knows: bytes, JSON objects and Parquet tables.

A file is absent or whole: locally it is written beside its final name and renamed, on an object store it is one PUT.
What a disk or somebody's hand did to it afterwards is a DamagedFileError when it is read.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.parquet_files import decoded, encoded

Content = TypeVar("Content")


class Directory:
    """Files by their names relative to `root`; holds no state but where it is, so it can be sent to any process."""

    def __init__(self, root: str | Path) -> None:
        address = str(root).removeprefix("file://")
        self.root = address if "://" in address else str(Path(address).expanduser().absolute())

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            filesystem, base = fs.FileSystem.from_uri(self.root)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"--out: {self.root} is neither a directory nor a usable URI ({one_line(error)})") from None
        return filesystem, base.rstrip("/")

    def __getstate__(self) -> dict[str, str]:
        return {"root": self.root}

    @property
    def is_local(self) -> bool:
        """Whether the run directory is a path of this machine's file system."""
        return "://" not in self.root

    def path(self, name: str) -> str:
        """Where the file called `name` (relative to the run directory) is, for people and other programs."""
        return f"{self.root}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file wholly or not at all."""
        filesystem, base = self._place
        target = f"{base}/{name}"
        if not self.is_local:
            with filesystem.open_output_stream(target) as stream:
                stream.write(content)
            return
        folder, _, file = target.rpartition("/")
        temporary = f"{folder}/.{file}.{uuid.uuid4().hex}.tmp"
        for last_try in (False, True):
            try:
                filesystem.create_dir(folder, recursive=True)
                with filesystem.open_output_stream(temporary) as stream:
                    stream.write(content)
                filesystem.move(temporary, target)
                return
            except FileNotFoundError:  # the worker of a killed command was just dropping the folder
                if last_try:
                    raise

    def read(self, name: str) -> bytes:
        """The whole file; FileNotFoundError if it is absent."""
        filesystem, base = self._place
        with filesystem.open_input_file(f"{base}/{name}") as stream:
            return stream.read()  # type: ignore[no-any-return]

    def exists(self, name: str) -> bool:
        """Whether the file is there, and so whole."""
        filesystem, base = self._place
        return filesystem.get_file_info(f"{base}/{name}").type == fs.FileType.File  # type: ignore[no-any-return]

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        filesystem, base = self._place
        with suppress(FileNotFoundError):
            filesystem.delete_file(f"{base}/{name}")

    def remove_folder(self, name: str) -> None:
        """Delete a folder and all in it, if it is there."""
        filesystem, base = self._place
        if filesystem.get_file_info(f"{base}/{name}").type == fs.FileType.Directory:
            with suppress(FileNotFoundError):
                filesystem.delete_dir(f"{base}/{name}")

    def _files(self, folder: str, suffix: str) -> list[str]:
        """Paths of the files whose names end in `suffix` anywhere within `folder`; one listing."""
        filesystem, base = self._place
        found = filesystem.get_file_info(fs.FileSelector(f"{base}/{folder}", recursive=True, allow_not_found=True))
        return [info.path for info in found if info.base_name.endswith(suffix) and not info.base_name.startswith(".")]

    def write_parquet(self, name: str, table: pa.Table, facts: Mapping[str, Any] | None = None) -> None:
        """Store a table; `facts` (anything JSON can hold) go into its metadata."""
        self.write(name, encoded(table, facts or {}))

    def read_parquet(self, name: str) -> tuple[pa.Table, dict[str, Any]]:
        """A stored table and its facts. DamagedFileError if it cannot be made out."""
        return self._read_table(name, lambda table, facts: (table, facts))

    def _read_table(
        self, name: str, content: Callable[[pa.Table, dict[str, Any]], Content], rows: slice | None = None
    ) -> Content:
        """`content` of a stored table, or of some of its rows, and its facts. DamagedFileError if there is none."""
        filesystem, base = self._place
        try:
            with filesystem.open_input_file(f"{base}/{name}") as stream:
                return content(*decoded(stream, rows))
        except (FileNotFoundError, MemoryError):
            raise
        except Exception:  # a damaged file, or a network that failed meanwhile: the whole file tells
            whole = pa.BufferReader(self.read(name))
        try:
            return content(*decoded(whole, rows))
        except MemoryError:
            raise
        except Exception as error:
            raise DamagedFileError(name, self.path(name), one_line(error)) from None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a JSON object."""
        self.write(name, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """A stored JSON object. DamagedFileError if it is none."""
        try:
            content = json.loads(self.read(name))
        except ValueError as error:
            raise DamagedFileError(name, self.path(name), one_line(error)) from None
        if not isinstance(content, dict):
            raise DamagedFileError(name, self.path(name), "not a JSON object")
        return content
