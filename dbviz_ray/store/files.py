"""Files that are absent or whole, whatever dies while they are written.

Local ones are written beside their final names, brought to the disk and renamed, so that after a loss of power too no
empty file has a final name; that takes 4 ms a file (2026-11-25, ext4 on a virtual disk). Objects are one PUT, or from
10 MB on an upload in parts, of which nothing is seen before it is complete.
"""

from __future__ import annotations

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

from dbviz_ray.terminal import interruption

Result = TypeVar("Result")

SETTLE_SECONDS = 2.0
"""Longest gap between the check and the PUT of a process that creates an object."""


def write_local(filesystem: Any, target: str, content: bytes) -> None:
    """Write or replace a file. OSError if that fails; then nothing has changed."""
    _written_beside(filesystem, target, content, lambda temporary: filesystem.move(temporary, target))


def create_local(filesystem: Any, target: str, content: bytes) -> bool:
    """Write a file if there is none; whether this call did. Of several processes one succeeds."""

    def link(temporary: str) -> bool:
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            return _create_without_links(target, content)
        return True

    return _written_beside(filesystem, target, content, link)


def put(filesystem: Any, target: str, content: bytes) -> None:
    """Write or replace an object. OSError if that fails; then nothing has changed, or just the answer was lost."""
    whole = pa.py_buffer(content)
    with interruption.held():
        stream = filesystem.open_output_stream(target)
        try:
            stream.write(whole)
        except BaseException:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))  # pyarrow completes even objects whose stream it drops
            raise
        stream.close()


def create_object(filesystem: Any, target: str, content: bytes) -> bool:
    """Write an object if there is none; whether this call did.

    Of several processes one succeeds, if their contents differ and no more than `SETTLE_SECONDS` lie between the look
    of one and the end of its PUT; if more do, the last replaces what another believes to have created.
    """
    if _content(filesystem, target) not in (None, content):  # an earlier try of ours may have got through unanswered
        return False
    put(filesystem, target, content)
    time.sleep(SETTLE_SECONDS)
    return _content(filesystem, target) == content


def _content(filesystem: Any, target: str) -> bytes | None:
    try:
        with filesystem.open_input_file(target) as stream:
            return stream.read()  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None


def _written_beside(filesystem: Any, target: str, content: bytes, finish: Callable[[str], Result]) -> Result:
    """What `finish` makes of a file of this content, on the disk in the folder of `target`; then that file goes."""
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
        except FileNotFoundError:  # the worker of a killed command was just dropping the folder
            if last_try:
                raise
        finally:
            with suppress(OSError):
                os.remove(temporary)
    raise AssertionError("unreachable")


def _create_without_links(target: str, content: bytes) -> bool:
    """As `create_local` where a file has just one name; it may be seen for a moment before it is whole."""
    try:
        with open(target, "xb") as stream:
            stream.write(content)
    except FileExistsError:
        return False
    return True


_FACTS = b"dbviz"
_WRITING = {"compression": "zstd", "write_page_checksum": True}


def encoded(table: pa.Table, facts: Mapping[str, Any], rows_together: int | None = None, **options: Any) -> bytes:
    """The bytes of a file whose row groups, which are read as one, hold `rows_together` rows each."""
    sink = pa.BufferOutputStream()
    described = table.replace_schema_metadata({_FACTS: json.dumps(facts)})
    pq.write_table(described, sink, row_group_size=rows_together, **(_WRITING | options))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decoded(source: pa.NativeFile, rows: slice | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """The table in an open file, or its rows `rows` (of step 1), and its facts; other row groups are not read.

    What other programs put into the metadata is left out, since pandas would obey it. A damaged file raises one of many
    kinds of errors.
    """
    file = pq.ParquetFile(source, page_checksum_verification=True)
    facts: dict[str, Any] = json.loads((file.schema_arrow.metadata or {}).get(_FACTS, b"{}"))
    if not isinstance(facts, dict):
        raise ValueError("its facts are no JSON object")
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
