"""The report of a sweep: one HTML file with what it found."""

from __future__ import annotations

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

REPORT_FILE = "report.html"


def write_report(store: Store, sweep: SweepConfig) -> None:
    """Write the report of stored results and figures."""
    store.write(REPORT_FILE, f"<!DOCTYPE html>\n<title>{sweep.name}</title>\n".encode())
