"""Run directories with made-up predictions: what the analysis reads, without a training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from conftest import small_sweep
from skimage.measure import label as skimage_label
from sklearn.metrics import cohen_kappa_score

from dbviz_ray.analysis.findings import find, write_findings
from dbviz_ray.analysis.tables import compute_tables, write_tables
from dbviz_ray.config import MarginsConfig, ModelConfig, PlaneSetConfig, SweepConfig
from dbviz_ray.store import Store, StoredMargins
from dbviz_ray.store.models import Failure, Outcome

CLASSES = 4
TRAIN_IMAGES, TEST_IMAGES = 24, 20


def made_up_run(
    directory: Path,
    sweep: SweepConfig,
    diverged: Callable[[ModelConfig], bool] = lambda model: False,
    error: Callable[[ModelConfig, int], float] = lambda model, epoch: 0.3,
    label_maps: Callable[[ModelConfig, Any], Any] | None = None,
) -> Store:
    """A run directory of `sweep` whose models err, and differ from one another, on a share `error(model, epoch)`.

    `label_maps(model, what a perfect model says)` says what a model says on planes instead.
    """
    store = Store(directory)
    store.claim(sweep)
    generator = np.random.default_rng(0)
    plane_sets = {name: _plane_set(store, name, config, generator) for name, config in sweep.planes.items()}
    for model in sweep.models():
        for epoch in model.training.kept_epochs if not diverged(model) else ():
            share = error(model, epoch)
            predictions = _predictions(model, share, generator)
            kept = None if epoch == model.training.epochs else epoch
            store.write_parquet(store.model_file(model.model_id, "predictions.parquet", kept), predictions)
            for plane_set, truth in plane_sets.items():
                labels = _changed(truth, share, generator) if label_maps is None else label_maps(model, truth)
                if sweep.planes[plane_set].probabilities:  # 0.7 of the class predicted, 0.1 of each other
                    chances = np.where(labels[..., None] == np.arange(CLASSES), 0.7, 0.1).astype(np.float16)
                    store.write_probabilities(plane_set, model.model_id, epoch, chances)
                store.write_label_maps(plane_set, model.model_id, epoch, labels)
            if sweep.margins is not None:
                store.write_margins(model.model_id, epoch, _margins(sweep.margins, predictions, generator))
        epoch = 2 if diverged(model) else None
        facts = {"outcome": "done" if epoch is None else "diverged", "diverged_epoch": epoch, "device": "cpu"}
        store.write_json(store.model_file(model.model_id, "model.json"), facts)
    return store


def analysed(store: Store, sweep: SweepConfig) -> Store:
    """With its tables and findings."""
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    write_findings(store, find(tables))
    return store


REASON = "RuntimeError: made up"


def let_fail(store: Store, sweep: SweepConfig, stage: Callable[[ModelConfig], str]) -> None:
    """Leave of every model for which `stage` is train or evaluate what a failure there leaves; "" lets it be.

    Of one that could not be evaluated that is its training and, here, the label maps of the first plane set.
    """
    for model in sweep.models():
        failed_in = stage(model)
        if not failed_in:
            continue
        outcome = Outcome.BAD_CONFIGURATION if failed_in == "train" else Outcome.FAILED
        store.write_failure(Failure(model.model_id, failed_in, outcome, REASON))
        store.remove_folder(f"margins/model_id={model.model_id}")
        if failed_in == "train":
            store.remove_folder(f"models/{model.model_id}")
        for plane_set in list(sweep.planes)[failed_in == "evaluate" :]:
            store.remove_folder(f"labels/plane_set={plane_set}/model_id={model.model_id}")


def labels_of(store: Store, plane_set: str, models: Sequence[ModelConfig]) -> np.ndarray[Any, Any]:
    """Label maps of models at their last epochs, `[models, planes, rows, columns]`."""
    return np.stack([store.read_label_maps(plane_set, model.model_id, model.training.epochs) for model in models])


def _plane_set(store: Store, name: str, planes: PlaneSetConfig, generator: np.random.Generator) -> Any:
    """What a perfect model says, `[planes, rows, columns]`; the planes' own file is written too."""
    rows = [{"anchors": [0.5] * 12, "anchor_a": [0.0, 1.0, 0.5], "anchor_b": [0.0, 0.0, 1.0],
             "a_range": [-0.1, 1.1], "b_range": [-0.1, 1.1], "anchor_labels": [plane % CLASSES] * 3,
             "anchor_indices": [3 * plane, 3 * plane + 1, 3 * plane + 2]}
            for plane in range(planes.count)]  # fmt: skip
    pictures = {"image_shape": [1, 2, 2], "mean": [0.0], "deviation": [1.0], "class_names": list("abcd")}
    facts = pictures | {"resolution": planes.resolution}
    store.write_parquet(store.planes_file(name), pa.Table.from_pylist(rows), facts)
    return generator.integers(0, CLASSES, (planes.count, planes.resolution, planes.resolution), dtype=np.uint8)


def _changed(truth: Any, share: float, generator: np.random.Generator) -> Any:
    wrong = generator.random(truth.shape) < share
    return np.where(wrong, (truth + generator.integers(1, CLASSES, truth.shape)) % CLASSES, truth).astype(np.uint8)


def _margins(config: MarginsConfig, predictions: pa.Table, generator: np.random.Generator) -> StoredMargins:
    """Distances of about 1, a tenth of them beyond a reach of 5; of the same images in all models."""
    predicted = predictions.filter(pc.equal(predictions["split"], config.split))["predicted"].to_numpy()
    order = np.random.default_rng(config.seed).permutation(len(predicted))
    indices = order[: config.images].astype(np.int32)
    distances = generator.exponential(1.0, (len(indices), config.directions)).astype(np.float32)
    distances[generator.random(distances.shape) < 0.1] = np.inf
    facts = config.model_dump(include={"split", "steps", "reach", "tolerance", "seed"})
    return StoredMargins(indices, predicted[indices], distances, np.full_like(distances, 5), facts)


def _predictions(model: ModelConfig, share: float, generator: np.random.Generator) -> pa.Table:
    """Training labels are falsified by the model's label noise, others by another seed of it."""
    true = np.arange(TRAIN_IMAGES + TEST_IMAGES, dtype=np.uint8) % CLASSES
    given = true.copy()
    order = np.random.default_rng(model.seeds.label_noise).permutation(TRAIN_IMAGES)
    falsified = order[: round(model.label_noise * TRAIN_IMAGES)]
    given[falsified] = (given[falsified] + 1) % CLASSES
    split = pa.array(["train"] * TRAIN_IMAGES + ["test"] * TEST_IMAGES).dictionary_encode()
    predicted = _changed(given, share, generator)
    return pa.table({"split": split, "given_label": given, "true_label": true, "predicted": predicted})


def predictions_of(store: Store, model: ModelConfig, split: str) -> Any:
    """Predictions of a model at its last epoch for the images of a split, as a data frame."""
    table = store.read_parquet(store.model_file(model.model_id, "predictions.parquet"))[0].to_pandas()
    return table[table["split"] == split]


def naive_scores(store: Store, sweep: SweepConfig, plane_set: str, pair: Sequence[ModelConfig]) -> dict[str, float]:
    """What two models have in common at their last epoch, by the definitions."""
    a, b = (maps.reshape(-1) for maps in labels_of(store, plane_set, pair))
    tests = [predictions_of(store, model, "test") for model in pair]
    observed = np.equal(*(test["predicted"] for test in tests)).mean()
    right, other = ((test["predicted"] == test["given_label"]).mean() for test in tests)
    classes = len(store.read_parquet(store.planes_file(plane_set))[1]["class_names"])
    expected = right * other + (1 - right) * (1 - other) / (classes - 1)
    found = {"reproducibility": (a == b).mean(), "kappa": cohen_kappa_score(a, b), "soft_agreement": np.nan}
    if sweep.planes[plane_set].probabilities:
        p, q = (store.read_probabilities(plane_set, of.model_id, of.training.epochs).astype(float) for of in pair)
        found["soft_agreement"] = (p * q).sum(axis=-1).mean()
    return found | {"agreement_on_test_images": observed, "capa": (observed - expected) / (1 - expected)}


def noise(truth: Any, share: float, *seed: int) -> Any:
    """Made-up labels on a share of the points."""
    generator = np.random.default_rng(seed)
    changed = generator.random(truth.shape) < share
    return np.where(changed, generator.integers(0, CLASSES, truth.shape), truth).astype(np.uint8)


CROSSED = {"width": [4], "seed": [0], "init_seed": [0, 1, 2], "order_seed": [0, 1, 2]}
"""A grid of nine trainings: three seeds of initialisation by three of order."""
RECIPES = {"Adam": {}, "SGD": {"optimizer": "sgd"}}
CASES = [
    {"architecture": ["fully_connected"], "width": [4]},
    {"architecture": ["vit"], "width": [8], "options": {"patch_size": 2}},
]


def compared_sweep(**fields: object) -> SweepConfig:
    """Two architectures, two recipes, three seeds, one snapshot."""
    training = {"epochs": 3, "batch_size": 64, "snapshots": [1]}
    return small_sweep(grid={"recipes": RECIPES, "seed": [0, 1, 2]}, cases=CASES, training=training, **fields)


def distilled_sweep(teacher: dict[str, object]) -> SweepConfig:
    """Students of two architectures, and as many undistilled models."""
    recipes = {"alone": {}, "distilled": {"distillation": {"recipe": "alone", **teacher}}}
    return small_sweep(grid={"recipes": recipes, "seed": [0, 1, 2]}, cases=CASES)


def labels_of_kind(store: Store, sweep: SweepConfig, *kind: str) -> np.ndarray:
    """On the plane set `test`, of the models of an architecture and a recipe."""
    return labels_of(store, "test", [m for m in sweep.models() if (m.architecture, m.recipe) == kind])


def region_sizes(label_map: np.ndarray) -> np.ndarray:
    """Points of every region of one class, which corners join too."""
    return np.bincount(skimage_label(label_map.astype(int) + 1, connectivity=2).ravel())[1:]
