"""Reports, each one HTML file: of a sweep, and of a comparison of a user's own models, which is text too."""

from __future__ import annotations

from analysis.report.of_comparison import Report, html_report
from analysis.report.pictures import Illustration
from analysis.report.rows import models_frame, pairs_frame
from analysis.report.text import text_report

__all__ = ["Illustration", "Report", "html_report", "models_frame", "pairs_frame", "text_report"]
