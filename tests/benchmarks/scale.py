"""How long does the analysis take, and in how much memory, as models and planes become many?

    python tests/benchmarks/scale.py [--out RESULTS.md]

Makes run directories of up to 1,000 models on up to 400 planes without a training (random ReLU networks of two layers
label the planes; trainings of a group are one network, each with weights of its own added), and computes every table of
each in a fresh process. Seconds and peak resident memory are that process's; imports (torch's too) alone come first.

2026-11-22, AMD EPYC 9005 (two cores): 1,000 models take 30 s on 100 planes and 78 s on 400, and at most 1.5 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

CASES = [(250, 100), (1000, 100), (1000, 400)]
"""Models and planes."""
RESOLUTION, CLASSES, IMAGES, HIDDEN, INPUTS = 50, 10, 1000, 16, 6
HEAD = [
    "models",
    "planes",
    "seconds",
    "peak memory, MiB",
    "beyond imports, MiB",
    "rows of pairs",
    "rows of differences",
]


def main() -> None:
    """Print, or append to a file, a table with a row a case. Little is imported here: children inherit the peak."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    parser.add_argument("--make", nargs=3, metavar=("DIR", "MODELS", "PLANES"), help=argparse.SUPPRESS)
    parser.add_argument("--score", metavar="DIR", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.make:
        directory, models, planes = chosen.make
        make_run(Path(directory), int(models), int(planes))
        return
    if chosen.score:
        print(json.dumps(scored(Path(chosen.score))))
        return
    rows = []
    for models, planes in CASES:
        with tempfile.TemporaryDirectory() as directory:
            _in_a_process("--make", directory, str(models), str(planes))
            found = json.loads(_in_a_process("--score", directory))
        cells = [f"{found['seconds']:.0f}", f"{found['peak']:.0f}", f"{found['peak'] - found['imports']:.0f}"]
        rows.append([str(models), str(planes), *cells, f"{found['pairs']:,}", f"{found['differences']:,}"])
        print("  ".join(rows[-1]), flush=True)
    import torch
    from timing import markdown, measured_on

    text = f"## Scale of the analysis, {measured_on(torch.device('cpu'))}\n\n{markdown(HEAD, rows)}\n"
    if chosen.out is None:
        print(text)
        return
    with chosen.out.open("a") as results:
        results.write(f"\n{text}")


def _in_a_process(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def sweep_of(models: int, planes: int) -> object:
    """A sweep of so many models, a multiple of 25: groups of 5, at 5 levels of label noise."""
    from dbviz_ray.config import SweepConfig

    widths = models // 25
    recipes = {"adam": {}, "sgd": {"optimizer": "sgd"}} if widths % 2 == 0 else {"adam": {}}
    grid = {
        "width": list(range(1, widths // len(recipes) + 1)),
        "label_noise": [0.0, 0.05, 0.1, 0.2, 0.4],
        "recipes": recipes,
        "seed": list(range(5)),
    }
    plane_sets = {"test": {"count": planes, "resolution": RESOLUTION}}
    return SweepConfig.model_validate({"name": "scale", "grid": grid, "planes": plane_sets})


def make_run(directory: Path, models: int, planes: int) -> None:
    """A run directory whose label maps are those of random networks."""
    import numpy as np
    import pyarrow as pa

    from dbviz_ray.analysis.scores.groups import groups_among
    from dbviz_ray.store import Store

    sweep, store, generator = sweep_of(models, planes), Store(directory), np.random.default_rng(0)
    store.claim(sweep)
    anchors = generator.normal(0, 1, (planes, 3, INPUTS)).astype(np.float32)
    labels = generator.integers(0, CLASSES, (planes, 3)).tolist()
    facts = {"resolution": RESOLUTION, "class_names": list(map(str, range(CLASSES)))}
    store.write_parquet(store.planes_file("test"), pa.table({"anchor_labels": labels}), facts)
    side = np.linspace(-0.1, 1.1, RESOLUTION, dtype=np.float32)
    a, b = (axis.reshape(-1, 1) for axis in np.meshgrid(side, side))
    weights = np.concatenate([1 - a - b, a, b], axis=1)
    points = (weights @ anchors).reshape(-1, INPUTS)  # of all planes, one after another
    given = np.arange(2 * IMAGES, dtype=np.uint8) % CLASSES
    splits = pa.array(["train"] * IMAGES + ["test"] * IMAGES).dictionary_encode()
    configs = sweep.models()
    for group in groups_among(configs, [model.training.epochs for model in configs]):
        of_group = [generator.normal(0, 1, shape) for shape in ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES))]
        for model in (configs[member] for member in group.members):
            own = [(layer + generator.normal(0, 0.3, layer.shape)).astype(np.float32) for layer in of_group]
            maps = (np.maximum(points @ own[0] + own[1], 0) @ own[2]).argmax(axis=1).astype(np.uint8)
            maps = maps.reshape(planes, RESOLUTION, RESOLUTION)
            store.write_label_maps("test", model.model_id, model.training.epochs, maps)
            wrong = generator.random(len(given)) < 0.2
            predicted = np.where(wrong, generator.integers(0, CLASSES, len(given)), given).astype(np.uint8)
            columns = {"split": splits, "given_label": given, "true_label": given, "predicted": predicted}
            store.write_parquet(store.model_file(model.model_id, "predictions.parquet"), pa.table(columns))
            outcome = {"outcome": "done", "device": "cpu", "torch": "none"}
            store.write_json(store.model_file(model.model_id, "model.json"), outcome)


def scored(directory: Path) -> dict[str, float]:
    """Seconds and peak memory (MiB) of computing and writing every table of a run directory, in this process."""
    import yaml

    import dbviz_ray.evaluation.records  # noqa: F401  # what the analysis imports late
    from dbviz_ray.analysis.tables import compute_tables, write_tables
    from dbviz_ray.config import SweepConfig
    from dbviz_ray.store import Store

    store = Store(directory)
    sweep = SweepConfig.model_validate(yaml.safe_load(store.read("sweep.yaml")))
    imports, start = _peak(), time.perf_counter()
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    seconds = time.perf_counter() - start
    sizes = {name: len(tables[name]) for name in ("pairs", "differences")}
    return {"seconds": seconds, "peak": _peak(), "imports": imports, **sizes}


def _peak() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
