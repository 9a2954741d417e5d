"""From the store's label maps, predictions and margins to the tables of scores.

- `outcomes`: one row a model: how work on it ended, and where and why it was lost.
- `models`: one row a model, kept epoch and plane set: errors, regions, where it comes from.
- `pairs`: one row a pair of models and plane set: agreement on planes and on the test images, raw and corrected. Every
  two models at their last epochs; at earlier epochs only models of one group.
- `groups`: one row a group (see `dbviz_ray.analysis.scores.groups`) and plane set, every score with its interval.
- `between_groups`: one row a pair of groups of equal label noise, at their last epochs, and plane set; of groups that
  differ in their learning rates alone only the best. No rows for a label noise with more than `MAX_GROUPS` groups.
- `differences`: the same pairs of groups, score by score, tested on the same planes and images.
- `resolution`: regions on coarser and finer grids.
- `uncertainty`: what the interval of each group's score is made of, from which `--precision` gives its advice.
- `margins`, in sweeps that ask for them: distances to the decision boundary.
- `streams`, in sweeps that vary random streams apart: which of them makes trainings differ.
- `by_recipe`, in sweeps of several recipes or architectures: `groups` in the form of the paper's Table 1.
- `distillation`, in sweeps with students: how far they agree with their teachers, and what others do.

Models that diverged or failed (`dbviz_ray.store.outcomes`) are left out of every score, at whatever epoch;
`groups` counts them.
"""

from __future__ import annotations

from .compute import NoModelsError, compute_tables, tables_of
from .files import read_table, write_tables
from .outcomes import stored_outcomes

__all__ = ["NoModelsError", "compute_tables", "read_table", "stored_outcomes", "tables_of", "write_tables"]
