"""How much faster are the scores than a pair-by-pair, class-by-class computation?

    python tests/benchmarks/scores.py [--only pairs|regions] [--out FILE]

Reproducibility: all pairs of models, each model's label maps read once from the store (uint8, Parquet), against a loop
over pairs that reads both models' maps each time, as int64: from Parquet files like the store's own, and from `.npy`
files, which cost no decoding but, at 10 MB a model, a hundred times the space. All files are in the system's cache,
which favours the loop. It is timed on some of the pairs and scaled to all of them, each of which does the same work.
Fragmentation: the regions of one model's maps in one labelling, against labelling class by class with scikit-image,
alone and with the sizes of the regions. Maps are of random smooth fields; the table tells how many regions they have
(digits networks that memorised noisy labels: 7).
"""

from __future__ import annotations

import functools
import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from timing import alternating, markdown, measure_parts, ratio_text

from dbviz_ray.analysis.scores.agreement import agreement
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.store import Store

CLASSES, MODELS, PLANES, RESOLUTION, TIMED_PAIRS = 10, 45, 500, 50, 45
ROUNDS = 5


def reproducibility() -> str:
    """All pairs of models, from files."""
    pairs = list(itertools.combinations(range(MODELS), 2))
    timed = pairs[:: len(pairs) // TIMED_PAIRS]
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for model in range(MODELS):
            of_model = smooth_maps(generator)
            store.write_label_maps("test", f"model{model}", 1, of_model)
            np.save(Path(folder) / f"{model}.npy", of_model.astype(np.int64))
            rows = pa.FixedSizeListArray.from_arrays(pa.array(of_model.reshape(-1).astype(np.int64)), RESOLUTION**2)
            store.write_parquet(f"{model}.parquet", pa.table({"labels": rows}))

        def ours() -> np.ndarray:
            read = (store.read_label_maps("test", f"model{model}", 1) for model in range(MODELS))
            return agreement(np.stack([of_model.reshape(PLANES, -1) for of_model in read])).mean(axis=0)

        def from_npy(model: int) -> np.ndarray:
            return np.load(Path(folder) / f"{model}.npy").reshape(-1)

        def from_parquet(model: int) -> np.ndarray:
            return store.read_parquet(f"{model}.parquet")[0]["labels"].combine_chunks().flatten().to_numpy()

        def pair_by_pair(read: Callable[[int], np.ndarray]) -> list[float]:
            return [float((read(first) == read(second)).mean()) for first, second in timed]

        loops = {"int64 Parquet": from_parquet, "int64 .npy": from_npy}
        matrix = ours()
        for read in loops.values():
            np.testing.assert_allclose([matrix[pair] for pair in timed], pair_by_pair(read), rtol=1e-12)
        slow = {name: functools.partial(pair_by_pair, read) for name, read in loops.items()}
        seconds = alternating({"ours": ours, **slow}, ROUNDS)
    table = [["each model read once", f"{statistics.median(seconds['ours']):.2f}", "-"]]
    for name in loops:
        scaled = [taken * len(pairs) / len(timed) for taken in seconds[name]]
        label = f"pair by pair, {name} ({len(timed)} of {len(pairs)} pairs, scaled)"
        table.append([label, f"{statistics.median(scaled):.1f}", ratio_text(scaled, seconds["ours"])])
    return markdown([f"{MODELS} models, {PLANES} planes of {RESOLUTION**2:,} points", "seconds", "times ours"], table)


def fragmentation() -> str:
    """The regions of one model's maps."""
    from skimage.measure import label

    maps = smooth_maps(np.random.default_rng(0))

    def sizes_class_by_class() -> list[list[np.ndarray]]:
        return [[np.bincount(label(m == c, connectivity=2).ravel())[1:] for c in np.unique(m)] for m in maps]

    slow, fast = "class by class, with sizes", "regions_of"
    seconds = alternating({slow: sizes_class_by_class, fast: lambda: regions_of(maps, 0.001)}, ROUNDS)
    counts = regions_of(maps, 0.001).fragmentation
    assert counts.tolist() == [sum(map(len, sizes)) for sizes in sizes_class_by_class()]
    ms = {name: f"{1000 * statistics.median(taken):.1f}" for name, taken in seconds.items()}
    rows = [[slow, ms[slow], "-"], [fast, ms[fast], ratio_text(seconds[slow], seconds[fast])]]
    title = f"{len(maps)} planes of {maps[0].size:,} points, {counts.mean():.1f} regions each"
    return markdown([title, "ms", "times faster than the same class by class"], rows)


def smooth_maps(generator: np.random.Generator) -> np.ndarray:
    """Label maps uint8 `[PLANES, RESOLUTION, RESOLUTION]`: of ten random plane waves each, the highest."""
    place = np.linspace(0, 1, RESOLUTION)
    direction = generator.normal(scale=4, size=(2, PLANES, CLASSES, 1, 1))
    phase = generator.uniform(0, 2 * np.pi, size=(PLANES, CLASSES, 1, 1))
    height = generator.normal(scale=0.5, size=(PLANES, CLASSES, 1, 1))
    waves = np.cos(direction[0] * place + direction[1] * place[:, None] + phase) + height
    return waves.argmax(axis=1).astype(np.uint8)


if __name__ == "__main__":
    measure_parts("Scores", __doc__, {"pairs": reproducibility, "regions": fragmentation})
