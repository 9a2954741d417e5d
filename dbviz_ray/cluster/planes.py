"""Draws the planes of a sweep once, in the driver; a Ray worker draws those that need attacks on a network."""

from __future__ import annotations

from typing import Any

import ray
import torch

from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.errors import DamagedFileError, StorageError, UserError
from dbviz_ray.evaluation.records import load_network, load_planes, save_planes
from dbviz_ray.planes import PlaneSet, draw_plane_set
from dbviz_ray.planes.drawing import about_plane_set, attacked_model, representative_labels
from dbviz_ray.store import Store
from dbviz_ray.store.layout import LABELS, PICTURES, partition


def stored_planes(sweep: SweepConfig, store: Store, plane_set: str) -> PlaneSet:
    """A plane set of the sweep; drawn and stored if it is missing. UserError if it cannot be drawn.

    Without a Ray session this process attacks networks itself, on the CPU.
    """
    if not store.exists(store.planes_file(plane_set)):
        _draw(sweep, store, plane_set)
    return load_planes(store, plane_set)[0]


def _draw(sweep: SweepConfig, store: Store, plane_set: str) -> None:
    attacked = attacked_model(sweep, plane_set)
    if attacked is not None and not store.complete_among([attacked.model_id]):
        failure = store.failures().get(attacked.model_id)
        raise UserError(
            f"planes.{plane_set}.attacked",
            attacked.model_id,
            reason=f"could not be trained ({failure.reason})" if failure else "is not trained yet",
            allowed="another model" if failure else "",
            hint="" if failure else "run the stages train,evaluate",
        )
    for folder in (LABELS, PICTURES):  # leftovers of earlier planes
        store.remove_folder(f"{folder}/{partition('plane_set', plane_set)}")
    if attacked is None or not ray.is_initialized():
        _draw_on(torch.device("cpu"), sweep, store, plane_set, attacked)
        return
    resources = sweep.resources
    options: dict[str, Any] = {
        "num_cpus": resources.cpus_per_evaluator,
        "num_gpus": resources.gpus_per_evaluator,
        "max_retries": resources.retries,
    }
    error = ray.get(ray.remote(_draw_on_worker).options(**options).remote(sweep, store, plane_set, attacked))
    if error is not None:
        raise error


def _draw_on_worker(sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> Exception | None:
    """Draw the planes; returns the error if that fails."""
    device = start_worker(sweep.resources.gpus_per_evaluator > 0, sweep.resources.cpus_per_evaluator)
    try:
        _draw_on(device, sweep, store, plane_set, attacked)
    except (UserError, DamagedFileError, StorageError) as error:
        return error
    return None


def _draw_on(
    device: torch.device, sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig | None
) -> None:
    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    planes, network = sweep.planes[plane_set], None
    if attacked is not None:
        network = load_network(store, attacked, dataset.image_shape, len(dataset.class_names)).to(device)
        planes = planes.model_copy(update={"attacked": attacked.model_id})
    with about_plane_set(plane_set):
        drawn = draw_plane_set(planes, dataset, representative_labels(sweep, plane_set, dataset), network)
    save_planes(store, plane_set, drawn, dataset)
