"""The plane sets of a sweep: what its models tell about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from dbviz_ray.config import ModelConfig, SweepConfig, telling_noise
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.errors import UserError
from dbviz_ray.planes.triplets import draw_triplets


def check_plane_sets_possible(sweep: SweepConfig, dataset: Dataset) -> None:
    """UserError if the natural images of a plane set cannot be had: their triplets are drawn to see."""
    for name, planes in sweep.planes.items():
        with about_plane_set(name):
            draw_triplets(dataset, planes, telling_labels(sweep, name, dataset))


def telling_labels(sweep: SweepConfig, plane_set: str, dataset: Dataset) -> Tensor | None:
    """The training labels int64 `[n]` that tell which images are mislabelled; None if the plane set does not ask."""
    noise = telling_noise(sweep.models()) if sweep.planes[plane_set].labels != "any" else None
    return given_labels(dataset, sweep.dataset.noise_kind, *noise) if noise else None


def attacked_model(sweep: SweepConfig, plane_set: str) -> ModelConfig | None:
    """The model that the adversarial examples of a plane set are made for; None if it has none."""
    planes, models = sweep.planes[plane_set], sweep.models()
    if planes.off_manifold != "adversarial":
        return None
    return next(model for model in models if planes.attacked in (None, model.model_id))


@contextmanager
def about_plane_set(name: str) -> Iterator[None]:
    """Let errors name the plane set that they are about."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("planes:", f"planes.{name}:", 1)) from None
