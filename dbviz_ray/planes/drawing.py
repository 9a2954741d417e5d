"""Draws the planes that a sweep asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dbviz_ray.config import ModelConfig, PlaneSetConfig, SweepConfig, common_noise
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.errors import UserError
from dbviz_ray.planes.geometry import Origin, PlaneSet
from dbviz_ray.planes.off_manifold import adversarial_anchors, off_manifold_anchors
from dbviz_ray.planes.triplets import draw_triplets, triplets_of

NATURAL = "natural"
ADVERSARIAL = (NATURAL, "adversarial", "random_direction")


def draw_plane_set(
    config: PlaneSetConfig, dataset: Dataset, given: Tensor | None = None, network: nn.Module | None = None
) -> PlaneSet:
    """The planes that `config` asks for: distinct images, never collinear, drawn from the "planes" stream.

    The paper draws i.i.d. training images; its code draws test images with replacement until the labels differ. Here
    both splits are possible, and no image is twice in a triplet.

    Args:
        config: Which planes.
        dataset: The images.
        given: The training labels int64 `[n]` that models see; needed unless `config.labels` is "any".
        network: The attacked model; needed if `config.off_manifold` is "adversarial".

    Raises:
        UserError: if the images do not allow such planes.
    """
    images, labels = dataset.split(config.images)
    indices = draw_triplets(dataset, config, given)
    anchors = dataset.normalised(images[indices])
    if config.off_manifold == "none":
        return PlaneSet(anchors, indices, labels[indices], config.resolution, config.margin)
    if config.off_manifold == "adversarial":
        if network is None:
            raise UserError("off_manifold", config.off_manifold, reason="needs a network to attack; none is given")
        anchors = adversarial_anchors(anchors[:, 0], config, dataset, network)
        indices, kinds = indices[:, :1].expand(-1, 3), ADVERSARIAL
    else:
        anchors = off_manifold_anchors(anchors, config, dataset)
        first = NATURAL if config.off_manifold_images == 2 else config.off_manifold
        kinds = (first, config.off_manifold, config.off_manifold)
    natural = torch.tensor([kind == NATURAL for kind in kinds])
    from_noise = torch.tensor([kind == "uniform_noise" for kind in kinds])
    return PlaneSet(
        anchors,
        indices.where(natural, -1),
        labels[indices].where(~from_noise, -1),
        config.resolution,
        config.margin,
        Origin(kinds, indices.where(~from_noise, -1), config.attacked),
    )


def draw_planes(images: Tensor, labels: Tensor, config: PlaneSetConfig) -> PlaneSet:
    """Planes through triplets of `images` (normalised, `[n, channels, height, width]`) with `labels` `[n]`."""
    with about_plane_set():
        indices = triplets_of(lambda places: images[places], labels, config, called="images")
    return PlaneSet(images[indices].float(), indices, labels[indices], config.resolution, config.margin)


def check_plane_sets_possible(sweep: SweepConfig, dataset: Dataset) -> None:
    """Draw the triplets of natural images once; UserError if a plane set asks for impossible ones."""
    for name, planes in sweep.planes.items():
        with about_plane_set(name):
            draw_triplets(dataset, planes, deciding_labels(sweep, name, dataset))


def deciding_labels(sweep: SweepConfig, plane_set: str, dataset: Dataset) -> Tensor | None:
    """The training labels int64 `[n]` that decide which images are mislabelled; None if the plane set needs none."""
    noise = common_noise(sweep.models()) if sweep.planes[plane_set].labels != "any" else None
    return given_labels(dataset, sweep.dataset.noise_kind, *noise) if noise else None


def attacked_model(sweep: SweepConfig, plane_set: str) -> ModelConfig | None:
    """The model that a plane set's adversarial examples attack; None if it has none."""
    planes, models = sweep.planes[plane_set], sweep.models()
    if planes.off_manifold != "adversarial":
        return None
    return next(model for model in models if planes.attacked in (None, model.model_id))


@contextmanager
def about_plane_set(name: str = "") -> Iterator[None]:
    """Prefix the fields of a UserError with "planes" and the name of the plane set."""
    whole = f"planes.{name}" if name else "planes"
    try:
        yield
    except UserError as error:
        raise error.renamed(lambda field: f"{whole}.{field}" if field else whole) from None
