"""Writes tables to the store and reads them back; the columns of a score and its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from dbviz_ray.store import Store

from ..statistics.intervals import Interval


def write_tables(store: Store, tables: Mapping[str, pd.DataFrame]) -> None:
    """Store every table as Parquet and CSV; CSV has no lists: names of one cell are joined by "+"."""
    for name, table in tables.items():
        parquet = pa.Table.from_pandas(table, preserve_index=False)
        joined = {column: table[column].map("+".join) for column in _lists_of_text(parquet)}
        store.write(store.scores_file(name, "csv"), table.assign(**joined).to_csv(index=False).encode())
        store.write_parquet(store.scores_file(name), parquet)


def read_table(store: Store, name: str) -> pd.DataFrame:
    """A stored table."""
    table, _ = store.read_parquet(store.scores_file(name))
    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(**{column: frame[column].map(tuple) for column in _lists_of_text(table)})


def _lists_of_text(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if field.type == pa.list_(pa.string())]


NAN = float("nan")


def ends(score: str, interval: Interval | None) -> dict[str, float]:
    """The columns of a score's interval; NaN for a score that is not known."""
    return {
        f"{score}_low": interval.low if interval else NAN,
        f"{score}_high": interval.high if interval else NAN,
    }


def value_and_ends(score: str, interval: Interval | None) -> dict[str, float]:
    """The columns of a score and its interval; NaN for a score that is not known."""
    return {score: interval.value if interval else NAN, **ends(score, interval)}


def with_covers(score: str, interval: Interval) -> dict[str, Any]:
    """The columns of a score, its interval, and what the interval is about."""
    return {**value_and_ends(score, interval), f"{score}_interval_covers": covers_text(interval)}


def covers_text(interval: Interval | None) -> str:
    """What an interval over models and planes is about."""
    return interval.covers.replace("items", "planes") if interval else "nothing"
