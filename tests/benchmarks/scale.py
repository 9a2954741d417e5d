"""The analysis of a made-up run of many models: `python tests/benchmarks/scale.py FOLDER --models 10000`.

Appends the seconds and the peak memory of each stage to `--out`; the first two find nothing to do. A folder that holds
the run is used again.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from timing import markdown, parser_of, report

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

CLASSES, IMAGES, CELLS, SIDE = 10, {"train": 500, "test": 1000}, 10, 50


def sweep_of(models: int, seeds: int, planes: int) -> SweepConfig:
    """Groups of so many seeds."""
    grid = {"width": list(range(1, models // seeds + 1)), "label_noise": [0.0], "seed": list(range(seeds))}
    dataset = {"name": "digits", "train_size": IMAGES["train"], "test_size": 297}
    sets = {"test": {"count": planes, "resolution": SIDE}}
    return SweepConfig(name="scale", dataset=dataset, grid=grid, training={"epochs": 1}, planes=sets)


def make(store: Store, sweep: SweepConfig) -> None:
    """Predictions and label maps in which each model differs from the truth in a fifth of the images and cells."""
    generator = np.random.default_rng(0)
    store.claim(sweep)
    planes = sweep.planes["test"].count
    rows = [
        {"anchors": [0.5] * 12, "anchor_a": [0.0, 1.0, 0.5], "anchor_b": [0.0, 0.0, 1.0], "a_range": [-0.1, 1.1],
         "b_range": [-0.1, 1.1], "anchor_labels": [0, 1, 2], "anchor_indices": [3 * k, 3 * k + 1, 3 * k + 2]}
        for k in range(planes)
    ]  # fmt: skip
    facts = {"image_shape": [1, 2, 2], "mean": [0.0], "deviation": [1.0], "class_names": list("0123456789")}
    store.write_parquet(store.planes_file("test"), pa.Table.from_pylist(rows), facts | {"resolution": SIDE})
    truth = generator.integers(0, CLASSES, (planes, CELLS, CELLS), dtype=np.uint8)
    split = pa.array([name for name, count in IMAGES.items() for _ in range(count)]).dictionary_encode()
    true = np.arange(sum(IMAGES.values()), dtype=np.uint8) % CLASSES

    def changed(labels: np.ndarray) -> np.ndarray:
        other = generator.integers(0, CLASSES, labels.shape, dtype=np.uint8)
        return np.where(generator.random(labels.shape, np.float32) < 0.2, other, labels)

    for model in sweep.models():
        columns = {"split": split, "given_label": true, "true_label": true, "predicted": changed(true)}
        store.write_parquet(store.model_file(model.model_id, "predictions.parquet"), pa.table(columns))
        maps = changed(truth).repeat(SIDE // CELLS, axis=1).repeat(SIDE // CELLS, axis=2)
        store.write_label_maps("test", model.model_id, 1, maps)
        store.write_json(store.model_file(model.model_id, "model.json"), {"outcome": "done", "device": "cpu"})


def main() -> None:
    """Make the run if it is not there, and time each command on it."""
    parser = parser_of(__doc__, models=10_000, seeds=200, planes=200)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    sweep, store = sweep_of(chosen.models, chosen.seeds, chosen.planes), Store(chosen.folder)
    made = chosen.folder / "made.txt"
    if not made.exists():
        make(store, sweep)
        made.touch()
    rows = []
    for stages in ("train", "evaluate", "analyse", "report"):
        command = [sys.executable, "-m", "dbviz_ray.sweep", str(chosen.folder / "sweep.yaml"), "--stages", stages]
        start = time.perf_counter()
        process = subprocess.Popen([*command, "--out", str(chosen.folder)])
        _, status, used = os.wait4(process.pid, 0)
        rows.append([stages, f"{time.perf_counter() - start:.1f}", f"{used.ru_maxrss / 2**20:.2f}"])
        print(rows[-1], "exit code", os.waitstatus_to_exitcode(status), flush=True)
    about = f"{chosen.models} models in groups of {chosen.seeds}, {chosen.planes} planes of {SIDE} x {SIDE} points"
    report(about, [markdown(["stage", "seconds", "peak of memory (GiB)"], rows)], chosen.out)


if __name__ == "__main__":
    main()
