"""Tables as Parquet and back, whole or some of their rows.

Every page carries a checksum, so that a byte that changed on a disk is an error and not another number. Small facts
about a table (anything JSON can hold) stand in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
