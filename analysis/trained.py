"""What the store holds of trained models, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.store import Store


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    config: ModelConfig
    facts: dict[str, Any]
    """Its `model.json`."""

    @property
    def diverged(self) -> bool:
        """Whether its weights are of no use, at whatever epoch."""
        return bool(self.facts["outcome"] == "diverged")


@dataclass(frozen=True)
class Predictions:
    """What models predict at one of their kept epochs; the models, in one order, are every array's first axis."""

    train_wrong: NDArray[np.bool_]
    """`[models, train images]`: whether the prediction is not the given, possibly noisy, label."""
    test_wrong: NDArray[np.bool_]
    """`[models, test images]`."""
    on_test: NDArray[np.uint8]
    """`[models, test images]`, predicted classes."""


def trained_models(store: Store, sweep: SweepConfig) -> list[Trained]:
    """Every model of a sweep, all of which are trained."""
    return [Trained(m, store.read_json(store.model_file(m.model_id, "model.json"))) for m in sweep.models()]


def read_predictions(store: Store, models: Sequence[ModelConfig], epochs: Sequence[int]) -> Predictions:
    """The predictions of each model at its epoch."""
    from dbviz_ray.records import load_predictions  # imports torch

    train_wrong, test_wrong, on_test = [], [], []
    for model, epoch in zip(models, epochs, strict=True):
        table = load_predictions(store, model, epoch)
        split = table["split"].combine_chunks().dictionary_decode().to_numpy(zero_copy_only=False)
        predicted, given = table["predicted"].to_numpy(), table["given_label"].to_numpy()
        train_wrong.append((predicted != given)[split == "train"])
        test_wrong.append((predicted != given)[split == "test"])
        on_test.append(predicted[split == "test"])
    return Predictions(np.stack(train_wrong), np.stack(test_wrong), np.stack(on_test))


def read_label_maps(
    store: Store, plane_set: str, models: Sequence[ModelConfig], epochs: Sequence[int]
) -> NDArray[np.uint8]:
    """The label maps of each model at its epoch: `[models, planes, rows, columns]`, in one array from the start."""
    first = store.read_label_maps(plane_set, models[0].model_id, epochs[0])
    maps = np.empty((len(models), *first.shape), np.uint8)
    for place, model, epoch in zip(maps, models, epochs, strict=True):
        place[:] = store.read_label_maps(plane_set, model.model_id, epoch)
    return maps
