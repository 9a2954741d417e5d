"""How long does the analysis take, and in how much memory, as models and planes become many?

    python tests/benchmarks/scale.py [--quick] [--out FILE]

Makes run directories of up to 1,000 models on up to 400 planes without a training (random ReLU networks of two layers
label the planes; trainings of a group are one network, each with weights of its own added), and computes every table of
each in a fresh process. Seconds and peak resident memory are that process's; imports (torch's too) alone come first.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import pyarrow as pa
from timing import in_a_process, markdown, parser_of, peak_mebibytes, report, seconds_of

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

CASES = [(250, 100), (1000, 100), (1000, 400)]
"""Models and planes."""
RESOLUTION, CLASSES, IMAGES, HIDDEN, INPUTS = 50, 10, 1000, 16, 6


def main() -> None:
    """Print, and append to a file, a table with a row a case."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="25 models on 20 planes")
    chosen = parser.parse_args()
    rows = []
    for models, planes in [(25, 20)] if chosen.quick else CASES:
        sweep = sweep_of(models, planes)
        with tempfile.TemporaryDirectory() as directory:
            make_run(directory, sweep)
            seconds, imports, peak, *counts = in_a_process(scored, directory, sweep)
        cells = [f"{seconds:.0f}", f"{peak:.0f}", f"{peak - imports:.0f}", *(f"{count:,}" for count in counts)]
        rows.append([str(models), str(planes), *cells])
        print("  ".join(rows[-1]), file=sys.stderr)
    head = ["models", "planes", "seconds", "peak memory, MiB", "beyond imports, MiB"]
    report("Scale of the analysis", [markdown([*head, "rows of pairs", "rows of differences"], rows)], chosen.out)


def sweep_of(models: int, planes: int) -> SweepConfig:
    """A sweep of so many models, a multiple of 25: groups of 5, at 5 levels of label noise."""
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


def make_run(directory: str, sweep: SweepConfig) -> None:
    """A run directory whose label maps are those of random networks."""
    from dbviz_ray.analysis.scores.groups import groups_among

    store, generator, planes = Store(directory), np.random.default_rng(0), sweep.planes["test"].count
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


def scored(directory: str, sweep: SweepConfig) -> list[float]:
    """Seconds of computing and writing every table; MiB before and at the peak; rows of pairs and of differences."""
    import dbviz_ray.evaluation.records  # noqa: F401  # what the analysis imports late
    from dbviz_ray.analysis.tables import compute_tables, write_tables

    store, tables = Store(directory), {}

    def work() -> None:
        tables.update(compute_tables(store, sweep))
        write_tables(store, tables)

    imports = peak_mebibytes()
    return [seconds_of(work), imports, peak_mebibytes(), len(tables["pairs"]), len(tables["differences"])]


if __name__ == "__main__":
    main()
