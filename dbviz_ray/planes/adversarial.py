"""Planes of an adversarial direction beside a random one.

    x1 natural,  x2 = an adversarial example made of x1,  x3 = x1 + |x2 - x1| r

where r is the unit vector along random signs (of the length that a raw pixel unit has in each channel), made
orthogonal to x2 - x1. The attack is projected gradient descent (Madry et al., arXiv 1706.06083) away from the class
that the network itself predicts for x1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dbviz_ray.cohort.gradients import attacked, pixel_limits
from dbviz_ray.config import AdversaryConfig, PlaneSetConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import UserError
from dbviz_ray.planes.geometry import spans_plane
from dbviz_ray.seeds import numpy_generator

BATCH = 100
"""Images attacked at a time."""


def adversarial_anchors(natural: Tensor, config: PlaneSetConfig, dataset: Dataset, network: nn.Module) -> Tensor:
    """x1, x2 and x3 of planes through `natural` images `[planes, channels, height, width]`: float32 `[planes, 3, ...]`.

    `network` is put into evaluation mode. The attack's start and the signs are drawn from the "off_manifold" stream,
    each plane's for itself. UserError if an attack goes nowhere, or the training of the network diverged.
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
            f"planes: off_manifold=adversarial: the attack moves the image of plane {lost} nowhere; allowed: another "
            "attacked model, adversary or seed"
        )
    return anchors


def adversarial_examples(
    network: nn.Module, images: Tensor, start: Tensor, adversary: AdversaryConfig, dataset: Dataset
) -> Tensor:
    """`images` `[n, channels, height, width]` moved away from the classes that `network` predicts for them.

    `start` is where the attack begins, as images, within -1 and 1. Computed where the network's parameters are.
    """
    parameter = next(network.parameters())
    network.eval()
    with torch.no_grad():
        placed = images.to(parameter)
        natural_scores: Tensor = network(placed)
        if not natural_scores.isfinite().all():
            raise UserError(
                "planes: off_manifold=adversarial: the attacked model's scores are no numbers; allowed: a model whose "
                "training did not diverge"
            )
        predicted = natural_scores.argmax(dim=1)

        def loss(moved: Tensor) -> Tensor:
            scores: Tensor = network(moved)
            return F.cross_entropy(scores, predicted, reduction="sum")

        limits = pixel_limits(dataset, parameter.device, parameter.dtype)
        return attacked(loss, placed, start.to(parameter), adversary, limits).to(images)


def _beside(moves: Tensor, directions: Tensor) -> Tensor:
    """Moves `[n, ...]` as long as `moves`, along the parts of `directions` that are orthogonal to them."""
    along, beside = moves.double().flatten(1), directions.double().flatten(1)
    length = along.norm(dim=1, keepdim=True)
    unit = along / length
    beside = beside - (beside * unit).sum(1, keepdim=True) * unit
    moved: Tensor = beside / beside.norm(dim=1, keepdim=True) * length
    return moved.view_as(moves).to(moves.dtype)
