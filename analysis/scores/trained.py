"""Reads trained models, predictions, label maps and margins from the store, as arrays."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.config.seeds import train_set
from dbviz_ray.store import PLANES_TOGETHER, Labels, Store
from dbviz_ray.store.layout import MODEL
from dbviz_ray.store.models import Outcome

from .agreement import agreeing_points, bit_words, rows_together
from .pair_means import PairMeans
from .plane_scores import Stored


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    config: ModelConfig
    facts: dict[str, Any]
    """Its `model.json`."""

    @property
    def diverged(self) -> bool:
        """Whether its training diverged; its weights are then useless at every epoch."""
        return bool(self.facts["outcome"] == Outcome.DIVERGED)


@dataclass(frozen=True)
class Predictions:
    """The predictions of models at one of their kept epochs; the first axis of every array is the models."""

    on_train: Labels
    """`[models, train images]`, predicted classes."""
    given: Labels
    """`[models, train images]`: the labels they were trained with, possibly noisy."""
    true: Labels
    """`[models, train images]`."""
    trained_on: NDArray[np.bool_]
    """`[models, train images]`: whether the image is in the model's own training set."""
    on_test: Labels
    """`[models, test images]`, predicted classes."""
    true_test: Labels
    """`[test images]`."""

    @cached_property
    def train_wrong(self) -> NDArray[np.bool_]:
        """`[models, train images]`: whether the prediction is not the given label."""
        return np.asarray(self.on_train != self.given)

    @cached_property
    def mislabelled(self) -> NDArray[np.bool_]:
        """`[models, train images]`: whether the given label is not the true one."""
        return np.asarray(self.given != self.true)

    @cached_property
    def false_labels(self) -> NDArray[np.bool_]:
        """`[models, train images]`: whether the model was trained with a false label of the image."""
        return np.asarray(self.mislabelled & self.trained_on)

    @cached_property
    def test_wrong(self) -> NDArray[np.bool_]:
        """`[models, test images]`."""
        return np.asarray(self.on_test != self.true_test)

    @cached_property
    def same_on_test(self) -> PairMeans:
        """How many test images two models predict the same class of; the images are its one plane."""
        models, images = self.on_test.shape
        means = PairMeans(models, 1, (), images)
        words = bit_words(self.on_test[:, None], max(1, int(self.on_test.max()).bit_length()))
        for rows in rows_together(models, 1):
            means.add(slice(0, 1), rows, agreeing_points(words, images, rows))
        return means


@dataclass(frozen=True)
class Margins:
    """Distances to the decision boundary; the first axis of every array is the models."""

    distances: NDArray[np.float32]
    """`[models, images, directions]`; where no boundary was found, what counts instead (see `read_margins`)."""
    found: NDArray[np.bool_]
    """`[models, images, directions]`: whether a boundary was found."""
    mislabelled: NDArray[np.bool_]
    """`[models, images]`; all false for test images."""

    @cached_property
    def mean_distance(self) -> NDArray[np.float64]:
        """An image's margin, the mean over directions: `[models, images]`."""
        return np.asarray(self.distances.mean(axis=2, dtype=np.float64))


def trained_models(store: Store, sweep: SweepConfig, without: Container[str] = ()) -> list[Trained]:
    """Every model of a sweep except the ids in `without`; all of them are trained."""
    models = [model for model in sweep.models() if model.model_id not in without]
    return [Trained(model, store.read_json(store.model_file(model.model_id, MODEL))) for model in models]


def read_predictions(store: Store, models: Sequence[ModelConfig], epochs: Sequence[int]) -> Predictions:
    """The predictions of each model at its epoch."""
    of_models: list[tuple[NDArray[Any], ...]] = []
    for model, epoch in zip(models, epochs, strict=True):
        table = store.read_predictions(model.model_id, None if epoch == model.training.epochs else epoch)
        split = table["split"].combine_chunks().dictionary_decode().to_numpy(zero_copy_only=False)
        predicted, given, true = (table[name].to_numpy() for name in ("predicted", "given_label", "true_label"))
        train, test = split == "train", split == "test"
        images = int(train.sum())
        trained_on = np.isin(np.arange(images), train_set(images, model.seeds.train_set))
        of_models.append((predicted[train], given[train], true[train], trained_on, predicted[test]))
    true_test = true[test]
    on_train, given, true, trained_on, on_test = map(np.stack, zip(*of_models, strict=True))
    return Predictions(on_train, given, true, trained_on, on_test, true_test)


def stored_planes(
    store: Store, sweep: SweepConfig, plane_set: str, models: Sequence[ModelConfig], epochs: Sequence[int]
) -> Stored:
    """Reads the label maps of each model at its epoch, one model and some planes at a time."""
    table, facts = store.read_parquet(store.planes_file(plane_set))
    ids, classes = [model.model_id for model in models], len(facts["class_names"])

    def labels(model: int, some: slice) -> Labels:
        return store.read_label_maps(plane_set, ids[model], epochs[model], some)

    def probabilities(some: slice) -> NDArray[np.float16]:
        return np.stack([store.read_probabilities(plane_set, *of, some) for of in zip(ids, epochs, strict=True)])

    with_probabilities = probabilities if sweep.planes[plane_set].probabilities else None
    return Stored(len(ids), len(table), facts["resolution"], classes, labels, with_probabilities, PLANES_TOGETHER)


def read_margins(
    store: Store, sweep: SweepConfig, models: Sequence[ModelConfig], epochs: Sequence[int], predictions: Predictions
) -> Margins | None:
    """The margins of each model at its epoch; None if the sweep has no margins.

    Where no boundary was found, the searched distance counts. With `scan=paper` it is arbitrary and so large that few
    such directions would decide the mean: there the mean over the image's other directions counts, if it has any.
    """
    if sweep.margins is None:
        return None
    stored = [store.read_margins(model.model_id, epoch) for model, epoch in zip(models, epochs, strict=True)]
    distances, reaches = np.stack([of.distances for of in stored]), np.stack([of.reaches for of in stored])
    found = np.isfinite(distances)
    if sweep.margins.scan == "paper":
        of_image = np.ma.masked_invalid(distances).mean(axis=2, keepdims=True, dtype=np.float64)
        reaches = np.where(np.ma.getmaskarray(of_image), reaches, of_image.data).astype(np.float32)
    mislabelled = np.zeros(distances.shape[:2], dtype=bool)
    if sweep.margins.split == "train":
        mislabelled = predictions.mislabelled[:, stored[0].indices]
    return Margins(np.where(found, distances, reaches), found, mislabelled)
