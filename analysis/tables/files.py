"""Tables to the store and back."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from dbviz_ray.store import Store


def write_tables(store: Store, tables: Mapping[str, pd.DataFrame]) -> None:
    """Store every table as Parquet and CSV."""
    for name, table in tables.items():
        store.write(store.scores_file(name, "csv"), table.to_csv(index=False).encode())
        store.write_parquet(store.scores_file(name), pa.Table.from_pandas(table, preserve_index=False))


def read_table(store: Store, name: str) -> pd.DataFrame:
    """A stored table."""
    table, _ = store.read_parquet(store.scores_file(name))
    return table.to_pandas()  # type: ignore[no-any-return]
