"""MLflow: an experiment a sweep; in it a run for what the sweep found, under it one for every curve and every group
that lies on no curve, and under these one for every model.

A curve's scores are metrics whose steps are widths or epochs, so that its run's page draws it; a page with all curves
in one chart is prepared (`views`), and every description tells what was found and links to others.
"""

from __future__ import annotations

from .address import tracking_uri, without_password
from .track import TrackingUnavailableError, is_tracked, track, where_to_look

__all__ = ["TrackingUnavailableError", "is_tracked", "track", "tracking_uri", "where_to_look", "without_password"]
