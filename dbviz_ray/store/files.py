"""Files that are absent or whole, whatever dies while they are written.

A local file is flushed to the disk under a temporary name and renamed, in 4 ms (2026-11-25, ext4 on a virtual disk). An
object is one PUT or, from 10 MB on, a multipart upload, which becomes visible when it is complete.
"""

import ctypes
import errno
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from dbviz_ray.store.seals import UNSEALED, sealed
from dbviz_ray.terminal import interruption

Result = TypeVar("Result")

IMAGE_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read of a user's images, whatever a file is called: for others Pillow starts programs such as Ghostscript."""
SETTLE_SECONDS = 2.0
"""Longest gap between the check and the PUT of a process that creates an object."""


def write_local(filesystem: Any, target: str, content: bytes) -> None:
    """Write or replace a file. OSError if that fails; then nothing has changed."""
    _written_beside(filesystem, target, content, lambda temporary: filesystem.move(temporary, target))


def create_local(filesystem: Any, target: str, content: bytes) -> bool:
    """Write a file if there is none; returns whether this call did. Of several processes one succeeds."""

    def link(temporary: str) -> bool:
        with suppress(FileExistsError):
            try:
                os.link(temporary, target)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    raise
                with open(target, "xb") as stream:  # without hard links, others may see the file before it is whole
                    stream.write(content)
            return True
        return False

    return _written_beside(filesystem, target, content, link)


def put(filesystem: Any, target: str, content: bytes) -> None:
    """Write or replace an object. OSError if that fails; then nothing has changed, unless only the answer was lost."""
    whole = owned(content)
    with interruption.held():
        stream = filesystem.open_output_stream(target)
        try:
            stream.write(whole)
        except BaseException:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))  # freed, it would complete the object
            raise
        stream.close()


def create_object(filesystem: Any, target: str, content: bytes) -> bool:
    """Write an object if there is none; returns whether this call did. Takes `SETTLE_SECONDS`.

    Of several processes one succeeds, if their contents differ and each takes at most `SETTLE_SECONDS` from the check
    to the end of its PUT; a slower one may replace an object that another believes to own.
    """
    with suppress(FileNotFoundError):
        if content_of(filesystem, target) != content:  # our own content: a try whose answer was lost
            return False
    put(filesystem, target, content)
    time.sleep(SETTLE_SECONDS)
    with suppress(FileNotFoundError):
        return content_of(filesystem, target) == content
    return False


def content_of(filesystem: Any, target: str) -> bytes:
    """A whole file or object; FileNotFoundError if it is absent."""
    with filesystem.open_input_file(target) as stream:
        return stream.read()  # type: ignore[no-any-return]


def owned(content: bytes) -> pa.Buffer:
    """A copy in Arrow's own memory. Its threads may free it while Python ends; freeing Python's then aborts.

    See https://github.com/apache/arrow/issues/34314.
    """
    copy = pa.BufferOutputStream()
    copy.write(content)
    return copy.getvalue()


def _written_beside(filesystem: Any, target: str, content: bytes, finish: Callable[[str], Result]) -> Result:
    """The result of `finish` on a temporary file with this content beside `target`; then deletes that file."""
    folder, _, file = target.rpartition("/")
    temporary = f"{folder}/.{file}.{uuid.uuid4().hex}.tmp"
    for last_try in (False, True):
        try:
            filesystem.create_dir(folder, recursive=True)
            with open(temporary, "xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            return finish(temporary)
        except FileNotFoundError:  # a worker of a killed command just deleted the folder
            if last_try:
                raise
        finally:
            with suppress(OSError):
                os.remove(temporary)
    raise AssertionError("unreachable")


_FACTS = b"dbviz"
MOST_BYTES, MOST_TIMES = 2**30, 100_000
"""A table may be larger than the first, or larger than so many times its file, but not both: nine kilobytes may ask for
any memory. Label maps of one class are ten thousand times their files."""
_WRITING = {"compression": "zstd", "write_page_checksum": True}


def encoded(table: pa.Table, facts: Mapping[str, Any], rows_together: int | None = None, **options: Any) -> bytes:
    """The bytes of a Parquet file with `rows_together` rows in a row group, the least that can be read."""
    sink = pa.BufferOutputStream()
    described = table.replace_schema_metadata({_FACTS: json.dumps({**facts, **UNSEALED})})
    pq.write_table(described, sink, row_group_size=rows_together, **(_WRITING | options))
    return sealed(sink.getvalue().to_pybytes())


def decoded(source: pa.NativeFile, rows: slice | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """The table in an open file, or its `rows` (step 1), and its facts; reads only the row groups it needs.

    Drops metadata of other programs, since pandas would obey it. A damaged file raises errors of many kinds.
    """
    file = pq.ParquetFile(source, page_checksum_verification=True)
    facts: dict[str, Any] = json.loads((file.schema_arrow.metadata or {}).get(_FACTS, b"{}"))
    if not isinstance(facts, dict):
        raise ValueError("its facts are not a JSON object")
    facts.pop("seal", None)
    _check_size(file, source.size())
    if rows is None:
        return file.read().replace_schema_metadata(), facts
    start, stop, _ = rows.indices(file.metadata.num_rows)
    groups, end, skipped = [], 0, 0
    for group in range(file.num_row_groups):
        first, end = end, end + file.metadata.row_group(group).num_rows
        if first < stop and start < end:
            groups.append(group)
        elif end <= start:
            skipped = end
    return file.read_row_groups(groups).replace_schema_metadata().slice(start - skipped, max(0, stop - start)), facts


def _check_size(file: pq.ParquetFile, stored: int) -> None:
    """ValueError for a table that is far too large for a file of `stored` bytes, before memory is taken."""
    types = [field.type for field in file.schema_arrow]
    lists = {
        kind: kind.list_size * kind.value_type.bit_width // 8 for kind in types if pa.types.is_fixed_size_list(kind)
    }
    width = sum(lists.get(kind, 8) for kind in types)
    if file.metadata.num_rows * width > max(MOST_BYTES, MOST_TIMES * stored):
        raise ValueError(f"it asks for {file.metadata.num_rows:,} rows of {width:,} bytes")
