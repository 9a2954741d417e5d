"""Turns the label maps, predictions and margins of a run into tables of scores; docs/tables.md describes them.

Models that diverged or failed (`dbviz_ray.store.models`) are left out of every score, at every epoch; `groups`
counts them.
"""

from .compute import compute_tables, files_of, keep_pairs, more_pairs, read_table, tables_of, write_tables
from .outcomes import NoModelsError

__all__ = [
    "NoModelsError", "compute_tables", "files_of", "keep_pairs", "more_pairs", "read_table", "tables_of",
    "write_tables",
]  # fmt: skip
