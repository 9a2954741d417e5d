"""A comparison of a user's own models in words and tables, as text and as one HTML file."""

from __future__ import annotations

from analysis.report.html import Report, html_report
from analysis.report.rows import models_frame, pairs_frame
from analysis.report.text import text_report

__all__ = ["Report", "html_report", "models_frame", "pairs_frame", "text_report"]
