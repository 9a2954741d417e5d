"""Turns the label maps, predictions and margins of a run into tables of scores.

- `outcomes`: how work on each model ended, and where and why it was lost.
- `models`: each model, kept epoch and plane set: errors, regions, where the model comes from.
- `pairs`: every two models and plane set: agreement on planes and on the test images, raw and corrected. At earlier
  epochs than the last only models of one group.
- `groups`: each group (see `dbviz_ray.analysis.scores.groups`) and plane set, every score with its interval.
- `between_groups`: every two groups of equal label noise at their last epochs and best rates, and plane set. No
  rows for a label noise with more than `MAX_GROUPS` groups.
- `differences`: the same pairs of groups, score by score, tested on the same planes and images.
- `resolution`: regions on coarser and finer grids.
- `uncertainty`: the variances behind each interval, from which `--precision` derives its advice.
- `margins`, in sweeps that ask for them: distances to the decision boundary.
- `streams`, in sweeps that vary random streams separately: how much each contributes to the disagreement.
- `by_recipe`, in sweeps of several recipes or architectures: the numbers of the paper's Table 1.
- `distillation`, in sweeps with students: how much they agree with their teachers, compared with controls.

Models that diverged or failed (`dbviz_ray.store.models`) are left out of every score, at every epoch; `groups`
counts them.
"""

from __future__ import annotations

from .compute import compute_tables, read_table, tables_of, write_tables
from .outcomes import NoModelsError

__all__ = ["NoModelsError", "compute_tables", "read_table", "tables_of", "write_tables"]
