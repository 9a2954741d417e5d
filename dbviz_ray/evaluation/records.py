"""Writes trained models and plane sets to the store and reads them back."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dbviz_ray.architectures import in_precision, initialised_network
from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.config import ModelConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import DamagedFileError, one_line
from dbviz_ray.evaluation.label_maps import label_type
from dbviz_ray.planes import Origin, PlaneSet
from dbviz_ray.store import Store
from dbviz_ray.store.evaluations import fixed_lists, listed_values
from dbviz_ray.store.layout import HISTORY, MODEL, PREDICTIONS, WEIGHTS
from dbviz_ray.store.models import Outcome
from dbviz_ray.training.cohort import TrainedModel

CHECKED_IMAGES, ROUNDING = 64, 0.02
"""Images whose predictions are checked, and the share of the range of logits that may be rounding."""


def save_model(store: Store, trained: TrainedModel, dataset: Dataset, facts: Mapping[str, Any]) -> None:
    """Write a model's files, `model.json` with their seals last."""
    save_snapshot(store, trained, dataset)
    model_id = trained.config.model_id
    epochs = np.arange(1, trained.config.training.epochs + 1, dtype=np.int32)
    history = {"epoch": epochs, **{name: column.numpy() for name, column in trained.history.items()}}
    store.write_parquet(store.model_file(model_id, HISTORY), pa.table(history))
    content = {
        "model_id": model_id,
        "outcome": Outcome.DONE if trained.diverged_epoch is None else Outcome.DIVERGED,
        "diverged_epoch": trained.diverged_epoch,
        "sharpness": trained.sharpness if math.isfinite(trained.sharpness) else None,
        "stack": trained.stack,
        "config": trained.config.model_dump(mode="json"),
        "seals": {name: store.seal(name) for name in _files(store, trained.config) if store.exists(name)},
    }
    store.write_json(store.model_file(model_id, MODEL), {**content, **facts})


def save_snapshot(store: Store, trained: TrainedModel, dataset: Dataset) -> None:
    """Write the weights and predictions of a model after `trained.epoch`."""
    weights, predictions = (_kept_file(store, trained.config, name, trained.epoch) for name in (WEIGHTS, PREDICTIONS))
    tensors = {name: tensor.contiguous() for name, tensor in trained.weights.items()}
    store.write_tensors(weights, tensors)
    store.write_parquet(predictions, _predictions(trained, dataset))


def load_config(store: Store, model_id: str) -> ModelConfig:
    """The configuration of a trained model.

    FileNotFoundError if the model is not complete; DamagedFileError if the configuration does not give its model_id.
    """
    file = store.model_file(model_id, MODEL)
    try:
        config = ModelConfig.model_validate(store.read_json(file).get("config"))
    except ValidationError as error:
        raise DamagedFileError(file, store.path(file), f"not a model's configuration: {one_line(error)}") from None
    if config.model_id != model_id:
        raise DamagedFileError(file, store.path(file), f"it describes the model {config.model_id}")
    return config


def load_network(
    store: Store, config: ModelConfig, image_shape: tuple[int, int, int], classes: int, epoch: int | None = None
) -> nn.Module:
    """A trained model after `epoch` (by default its last), as a module on the CPU in evaluation mode."""
    sizes = config.width, image_shape, classes
    network = initialised_network(config.architecture, *sizes, config.seeds.init, config.options)
    in_precision(network, torch.float64 if config.training.precision == "float64" else torch.float32)
    file = _kept_file(store, config, WEIGHTS, epoch)
    try:
        network.load_state_dict(store.read_tensors(file))
    except FileNotFoundError:
        raise DamagedFileError(file, store.path(file), "it is missing") from None
    except (KeyError, RuntimeError) as error:  # KeyError: a type that torch does not have
        raise DamagedFileError(file, store.path(file), f"not this model's weights: {one_line(error)}") from None
    network.eval()
    return network


@torch.no_grad()
def check_predictions(store: Store, config: ModelConfig, network: nn.Module, dataset: Dataset, epoch: int) -> None:
    """ValueError unless a loaded network predicts, for some test images, the classes that its training stored.

    It would not if the code of the network has changed since, or holds state outside of its state_dict. A class that
    rounding may decide counts as the same.
    """
    table, _ = store.read_parquet(_kept_file(store, config, PREDICTIONS, epoch))
    stored = table.filter(pc.field("split") == "test")["predicted"].to_numpy()[:CHECKED_IMAGES].astype(np.int64)
    place = next(network.parameters())
    images = dataset.normalised(dataset.test_images[: len(stored)].to(place.device), place.dtype)
    logits = logits_of(network(images)).double()
    highest = logits.amax(dim=1)
    short = highest - logits.gather(1, torch.from_numpy(stored)[:, None].to(place.device))[:, 0]
    different = int((short > ROUNDING * (highest - logits.amin(dim=1))).sum())
    if different:
        raise ValueError(
            f"loaded again, it predicts other classes for {different} of {len(stored)} test images than at the end of "
            "its training; has the code of the network changed?"
        )


def copy_model(source: Store, target: Store, config: ModelConfig) -> None:
    """Copy a trained model from another run directory, `model.json` last."""
    for name in [*_files(source, config), source.model_file(config.model_id, MODEL)]:
        target.write(name, source.read(name))


def _files(store: Store, config: ModelConfig) -> list[str]:
    """The files of a trained model, without `model.json`."""
    epochs = config.training.kept_epochs
    kept = [_kept_file(store, config, name, epoch) for epoch in epochs for name in (WEIGHTS, PREDICTIONS)]
    return [*kept, store.model_file(config.model_id, HISTORY)]


def _kept_file(store: Store, config: ModelConfig, file: str, epoch: int | None) -> str:
    return store.model_file(config.model_id, file, None if epoch == config.training.epochs else epoch)


def save_planes(store: Store, plane_set: str, planes: PlaneSet, dataset: Dataset) -> None:
    """Write a plane set, one row for each plane: its images, normalised, where they come from, and coordinates."""
    origin = planes.origin or Origin(("natural", "natural", "natural"), planes.anchor_indices)
    lists = {
        "anchor_indices": planes.anchor_indices,
        "anchor_sources": origin.sources,
        "anchor_labels": planes.anchor_labels,
        "anchor_a": planes.coordinates[..., 0],
        "anchor_b": planes.coordinates[..., 1],
        "a_range": planes.axes[:, 0, [0, -1]],
        "b_range": planes.axes[:, 1, [0, -1]],
        "anchors": planes.anchors.flatten(1),
    }
    facts = {
        "image_shape": list(planes.anchors.shape[2:]),
        "anchor_kinds": list(origin.kinds),
        "attacked": origin.attacked,
        "resolution": planes.resolution,
        "margin": planes.margin,
        "class_names": list(dataset.class_names),
        "mean": list(dataset.mean),
        "deviation": list(dataset.deviation),
    }
    columns = {"plane": np.arange(len(planes), dtype=np.int32)}
    columns |= {name: fixed_lists(values.numpy()) for name, values in lists.items()}
    store.write_parquet(store.planes_file(plane_set), pa.table(columns), facts)


def load_planes(store: Store, plane_set: str) -> tuple[PlaneSet, list[str]]:
    """A stored plane set and the names of its classes."""
    table, facts = store.read_parquet(store.planes_file(plane_set))

    def tensor(column: str, *shape: int) -> Tensor:
        return torch.from_numpy(listed_values(table, column, len(table), *shape).copy())

    kinds = tuple(facts.get("anchor_kinds", ()))  # absent from older files, which have natural images only
    planes = PlaneSet(
        anchors=tensor("anchors", 3, *facts["image_shape"]),
        anchor_indices=tensor("anchor_indices", 3),
        anchor_labels=tensor("anchor_labels", 3),
        resolution=facts["resolution"],
        margin=facts["margin"],
        origin=Origin(kinds, tensor("anchor_sources", 3), facts["attacked"]) if set(kinds) - {"natural"} else None,
    )
    return planes, facts["class_names"]


def _predictions(trained: TrainedModel, dataset: Dataset) -> pa.Table:
    """One row for each image: split, index in the split, given label, true label, predicted class."""
    dtype = label_type(len(dataset.class_names))

    def rows(split: str, given: Tensor, true: Tensor) -> pa.Table:
        classes = {"given_label": given, "true_label": true, "predicted": trained.predictions[split]}
        columns = {name: of_images.to(dtype).numpy() for name, of_images in classes.items()}
        splits = pa.array([split] * len(true)).dictionary_encode()
        return pa.table({"split": splits, "index": np.arange(len(true), dtype=np.int32), **columns})

    train = rows("train", trained.given_labels, dataset.train_labels)
    test = rows("test", dataset.test_labels, dataset.test_labels)
    return pa.concat_tables([train, test]).unify_dictionaries()
