"""MLflow: one experiment for each sweep. Its top run is about the sweep; below it is one run for every curve and for
every group on no curve, and below these one for every model.

The steps of a curve's metrics are its widths or epochs, so the page of a run draws the curve under "Model metrics".
"""

from .beside import TrackingBeside
from .track import TrackingUnavailableError, is_tracked, track, tracking_uri, where_to_look

__all__ = ["TrackingBeside", "TrackingUnavailableError", "is_tracked", "track", "tracking_uri", "where_to_look"]
