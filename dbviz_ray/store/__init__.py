"""The run directory: every file name and schema, atomic writes, and what counts as complete.

    sweep.yaml                                         the resolved configuration
    models/<model_id>/weights.safetensors              the last epoch's weights
    models/<model_id>/history.parquet                  one row an epoch
    models/<model_id>/predictions.parquet              one row an image of the data set
    models/<model_id>/snapshots/epoch=<00100>/         weights and predictions after an earlier epoch
    models/<model_id>/model.json                       configuration and outcome; written last: complete
    cohorts/<cohort_id>/state.safetensors              training state, until the cohort is complete
    cohorts/<cohort_id>/cohort.json                    the model_ids of its members
    planes/<plane_set>.parquet                         images and coordinates, one row a plane
    labels/plane_set=<..>/model_id=<..>/epoch=<00400>/labels.parquet                 label maps, one row a plane
    probabilities/plane_set=<..>/model_id=<..>/epoch=<00400>/probabilities.parquet   where asked for, the same
    margins/model_id=<..>/epoch=<00400>/margins.parquet                              distances, one row an image
    pictures/plane_set=<..>/model_id=<..>/epoch=<00400>/plane=<00000>/picture.parquet   one plane on a finer grid
    failures/<model_id>.json                           why the sweep has to do without a model, until it is tried again
    scores/<table>.parquet, scores/<table>.csv         what the analysis computed
    scores/findings.json                               what it found, in rows and sentences
    figures/<figure>.png, figures/<figure>.pdf
    report.html                                        everything that was found, for people

Class probabilities and a plane set's first picture are written before the label maps of the same planes, which are the
mark that all are complete. Pictures are for people to look at: no score is made of them.
"""

from __future__ import annotations

from pathlib import Path

from dbviz_ray.store.evaluations import PLANES_TOGETHER, EvaluationFiles, Picture, PictureFiles, StoredMargins
from dbviz_ray.store.models import SWEEP_FILE, ModelFiles, OwnedDirectory

__all__ = ["FINDINGS_FILE", "PLANES_TOGETHER", "SWEEP_FILE", "Picture", "Store", "StoredMargins"]

FINDINGS_FILE = "scores/findings.json"


class Store(OwnedDirectory, ModelFiles, EvaluationFiles, PictureFiles):
    """One run directory."""

    def planes_file(self, plane_set: str) -> str:
        """Name of a plane set's file."""
        return f"planes/{plane_set}.parquet"

    def scores_file(self, table: str, suffix: str = "parquet") -> str:
        """Name of a table of scores."""
        return f"scores/{table}.{suffix}"

    def figure_file(self, figure: str, suffix: str = "png") -> str:
        """Name of a picture."""
        return f"figures/{figure}.{suffix}"

    def remove_leftovers(self) -> None:
        """Delete what killed writers left beside their files; in an object store nothing is left."""
        if self.is_local:
            for path in Path(self.root).rglob(".*.tmp"):
                path.unlink(missing_ok=True)
