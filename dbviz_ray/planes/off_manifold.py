"""Planes through images off the data manifold: shuffled pixels, uniform noise and adversarial examples.

The paper finds that planes through shuffled images and noise are almost one region.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dbviz_ray.config import AdversaryConfig, PlaneSetConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import UserError
from dbviz_ray.planes.geometry import spans_plane
from dbviz_ray.planes.triplets import MAX_DRAWS
from dbviz_ray.training.gradients import attacked, pixel_limits

BATCH = 100
"""Images attacked at a time."""


def off_manifold_anchors(natural: Tensor, config: PlaneSetConfig, dataset: Dataset) -> Tensor:
    """`natural` images `[planes, 3, channels, height, width]`, the last `config.off_manifold_images` replaced.

    The "off_manifold" stream draws them, for each plane separately.
    """
    return torch.stack([_replaced(triplet, plane, config, dataset) for plane, triplet in enumerate(natural)])


def _replaced(natural: Tensor, plane: int, config: PlaneSetConfig, dataset: Dataset) -> Tensor:
    kept, replaced = natural.split([3 - config.off_manifold_images, config.off_manifold_images])
    for attempt in range(MAX_DRAWS):
        generator = numpy_generator("off_manifold", config.seed, plane, attempt)
        if config.off_manifold == "shuffled":
            made = shuffled(replaced, generator)
        else:
            made = uniform_noise(len(replaced), dataset, generator)
        triplet = torch.cat([kept, made])
        if spans_plane(triplet):
            return triplet
    raise UserError(
        "off_manifold", config.off_manifold, reason=f"spans no plane number {plane} in {MAX_DRAWS} draws of its images"
    )


def shuffled(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Images `[n, channels, height, width]` with the pixels of each in a random order; channels stay together."""
    height, width = images.shape[2:]
    orders = torch.from_numpy(np.stack([generator.permutation(height * width) for _ in images]))
    return images.flatten(2).gather(2, orders[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def uniform_noise(count: int, dataset: Dataset, generator: np.random.Generator) -> Tensor:
    """`[count, channels, height, width]`: raw pixels uniform from 0 to the pixel range, then normalised."""
    pixels = generator.uniform(0, dataset.pixel_range, (count, *dataset.image_shape))
    return dataset.normalised(torch.from_numpy(pixels))


def adversarial_anchors(natural: Tensor, config: PlaneSetConfig, dataset: Dataset, network: nn.Module) -> Tensor:
    """Anchors float32 `[planes, 3, ...]`: `natural` images, adversarial examples and images in a random direction.

    `natural` is `[planes, channels, height, width]`. Puts `network` into evaluation mode. The "off_manifold" stream
    draws the attack's start and the signs, for each plane separately. UserError if an attack does not move an image, or
    if the network's training diverged.
    """
    generators = [numpy_generator("off_manifold", config.seed, plane) for plane in range(len(natural))]
    draws = np.stack([generator.uniform(-1, 1, (2, *natural.shape[1:])) for generator in generators])
    starts, directions = torch.from_numpy(draws).float().unbind(1)
    examples = torch.cat(
        [
            adversarial_examples(network, images, start, config.adversary or AdversaryConfig(), dataset)
            for images, start in zip(natural.split(BATCH), starts.split(BATCH), strict=True)
        ]
    )
    signs = directions.sign() * pixel_limits(dataset, natural.device, natural.dtype).unit
    anchors = torch.stack([natural, examples, natural + _beside(examples - natural, signs)], dim=1)
    lost = next((plane for plane, triplet in enumerate(anchors) if not spans_plane(triplet)), None)
    if lost is not None:
        raise UserError(
            "off_manifold",
            config.off_manifold,
            reason=f"the attack does not move the image of plane {lost}",
            allowed="another attacked model, adversary or seed",
        )
    return anchors


def adversarial_examples(
    network: nn.Module, images: Tensor, start: Tensor, adversary: AdversaryConfig, dataset: Dataset
) -> Tensor:
    """`images` `[n, channels, height, width]` moved away from the classes that `network` predicts for them.

    The attack begins at `start`, shaped like images, between -1 and 1. It runs on the network's device.
    """
    parameter = next(network.parameters())
    network.eval()
    with torch.no_grad():
        placed = images.to(parameter)
        natural_scores: Tensor = network(placed)
        if not natural_scores.isfinite().all():
            raise UserError(
                "attacked",
                reason="the model's scores are not finite",
                allowed="a model whose training did not diverge",
            )
        predicted = natural_scores.argmax(dim=1)

        def loss(moved: Tensor) -> Tensor:
            scores: Tensor = network(moved)
            return F.cross_entropy(scores, predicted, reduction="sum")

        limits = pixel_limits(dataset, parameter.device, parameter.dtype)
        return attacked(loss, placed, start.to(parameter), adversary, limits).to(images)


def _beside(moves: Tensor, directions: Tensor) -> Tensor:
    """Moves `[n, ...]` along the parts of `directions` orthogonal to `moves`, and as long as these."""
    along, beside = moves.double().flatten(1), directions.double().flatten(1)
    length = along.norm(dim=1, keepdim=True)
    unit = along / length
    beside = beside - (beside * unit).sum(1, keepdim=True) * unit
    moved: Tensor = beside / beside.norm(dim=1, keepdim=True) * length
    return moved.view_as(moves).to(moves.dtype)
