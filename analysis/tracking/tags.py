"""MLflow's own tags that runs and experiments share."""

from __future__ import annotations

DESCRIPTION = "mlflow.note.content"
"""What its pages show as description, in Markdown."""
