"""Memory of the analysis: what grows with the number of planes is what is kept of each plane, not the label maps."""

import tracemalloc

from conftest import small_sweep
from support.made_up_runs import made_up_run

from dbviz_ray.analysis.scores import plane_scores
from dbviz_ray.analysis.tables import compute_tables

RESOLUTION, TOGETHER = 40, 10
"""Points on a side, and planes of which the label maps are in memory at a time."""
GRID = {"width": [2, 4, 8, 16], "label_noise": [0.0, 0.1, 0.2], "seed": [0, 1, 2, 3, 4]}
MODELS, CLASSES = 60, 4
PAIRS = 12 * 10 + 3 * 6 * 25
"""Followed on every plane: within 12 groups of 5, and between 4 groups of each label noise."""


def peak_of_scoring(directory, planes):
    """Bytes at the peak of computing every table."""
    sweep = small_sweep(grid=GRID, planes={"test": {"count": planes, "resolution": RESOLUTION}})
    store = made_up_run(directory, sweep, error=lambda model, epoch: 0.1)
    tracemalloc.start()
    try:
        compute_tables(store, sweep)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_label_maps_of_more_planes_take_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", TOGETHER * MODELS * RESOLUTION**2 * 2 // 8)
    few, many = (peak_of_scoring(tmp_path / str(planes), planes) for planes in (40, 120))
    # Pairs (twice: what is kept, and what an estimate copies), and of every model three numbers and two a class.
    of_plane = 2 * 8 * PAIRS + MODELS * (3 * 8 + CLASSES * (4 + 4))
    assert many - few < 80 * of_plane
    of_label_maps = MODELS * RESOLUTION**2
    assert of_plane < 0.2 * of_label_maps
    assert many < 120 * of_label_maps
