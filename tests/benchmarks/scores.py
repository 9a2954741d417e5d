"""How much faster are the scores than a pair-by-pair, class-by-class computation?

    python tests/benchmarks/scores.py

Reproducibility: all pairs of models, each model's label maps read once from the store (uint8, Parquet), against a loop
over pairs that reads both models' maps each time, as int64: from Parquet files like the store's own, and from `.npy`
files, which cost no decoding but, at 10 MB a model, a hundred times the space. All files are in the system's cache,
which favours the loop. It is timed on some of the pairs and scaled to all of them, each of which does the same work.
Fragmentation: the regions of one model's maps in one labelling, against labelling class by class with scikit-image,
alone and with the sizes of the regions. Maps are of random smooth fields; the table tells how many regions they have
(digits networks that memorised noisy labels: 7).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from timing import alternating, as_a_worker, markdown, measured_on, ratio_text

from dbviz_ray.analysis.scores.agreement import agreement
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.store import Store

CLASSES = 10
ROUNDS = 5


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=45)
    parser.add_argument("--planes", type=int, default=500)
    parser.add_argument("--resolution", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=45, help="pairs that the slow loop is timed on")
    arguments = parser.parse_args()
    as_a_worker()
    models, planes, resolution = arguments.models, arguments.planes, arguments.resolution
    generator = np.random.default_rng(0)
    maps = [smooth_maps(planes, resolution, generator) for _ in range(models)]
    print(f"## Scores, {measured_on(torch.device('cpu'))}\n")
    print(reproducibility(maps, arguments.pairs), end="\n\n")
    print(fragmentation(maps[0]))


def reproducibility(maps: list[np.ndarray], timed_pairs: int) -> str:
    """All pairs of models, from files."""
    models, planes, resolution = len(maps), *maps[0].shape[:2]
    pairs = list(itertools.combinations(range(models), 2))
    timed = pairs[:: max(1, len(pairs) // timed_pairs)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for model, of_model in enumerate(maps):
            store.write_label_maps("test", f"model{model}", 1, of_model)
            np.save(Path(folder) / f"{model}.npy", of_model.astype(np.int64))
            rows = pa.FixedSizeListArray.from_arrays(pa.array(of_model.reshape(-1).astype(np.int64)), resolution**2)
            store.write_parquet(f"{model}.parquet", pa.table({"labels": rows}))

        def ours() -> np.ndarray:
            read = (store.read_label_maps("test", f"model{model}", 1) for model in range(models))
            return agreement(np.stack([of_model.reshape(planes, -1) for of_model in read])).mean(axis=0)

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
        work: dict[str, Callable[[], object]] = {"ours": ours}
        seconds = alternating(
            work | {name: functools.partial(pair_by_pair, read) for name, read in loops.items()}, ROUNDS
        )
    table = [["each model read once", f"{statistics.median(seconds['ours']):.2f}", "-"]]
    for name in loops:
        scaled = [taken * len(pairs) / len(timed) for taken in seconds[name]]
        label = f"pair by pair, {name} ({len(timed)} of {len(pairs)} pairs, scaled)"
        table.append([label, f"{statistics.median(scaled):.1f}", ratio_text(scaled, seconds["ours"])])
    return markdown([f"{models} models, {planes} planes of {resolution**2:,} points", "seconds", "times ours"], table)


def fragmentation(maps: np.ndarray) -> str:
    """The regions of one model's maps."""
    from skimage.measure import label

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


def smooth_maps(planes: int, resolution: int, generator: np.random.Generator) -> np.ndarray:
    """Label maps uint8 `[planes, resolution, resolution]`: of ten random plane waves each, the highest."""
    place = np.linspace(0, 1, resolution)
    direction = generator.normal(scale=4, size=(2, planes, CLASSES, 1, 1))
    phase = generator.uniform(0, 2 * np.pi, size=(planes, CLASSES, 1, 1))
    height = generator.normal(scale=0.5, size=(planes, CLASSES, 1, 1))
    waves = np.cos(direction[0] * place + direction[1] * place[:, None] + phase) + height
    return waves.argmax(axis=1).astype(np.uint8)


if __name__ == "__main__":
    main()
