"""Reports of made-up runs."""

from __future__ import annotations

from support.html_pages import Page

from dbviz_ray.analysis.findings import find, write_findings
from dbviz_ray.analysis.report import write_report
from dbviz_ray.analysis.tables import compute_tables, write_tables
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import REPORT_FILE, Store

HOSTILE = "<script>alert('&amp;')</script>"


def analysed(store: Store, sweep: SweepConfig) -> Store:
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    write_findings(store, find(tables))
    return store


def report_of(store: Store, sweep: SweepConfig) -> Page:
    write_report(analysed(store, sweep), sweep)
    return Page(store.read(REPORT_FILE).decode())
