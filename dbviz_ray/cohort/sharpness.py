"""How sharp a minimum is: what sharpness-aware minimisation (Foret et al., arXiv 2010.01412) seeks to lower."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from dbviz_ray.cohort.gradients import State, perturbed
from dbviz_ray.cohort.losses import cross_entropy
from dbviz_ray.cohort.network import StackedState

RADIUS = 0.05
"""rho in the definition, the same for every model whatever it was trained with (the default of Foret et al.)."""
IMAGES = 1000
"""Training images that it is computed on at most."""


def sharpness(network: StackedState, stack: int, images: Tensor, labels: Tensor, batch: int) -> Tensor:
    """L(w + rho * g / |g|) - L(w) with g = grad L(w), for every member: float `[members]`.

    L is the mean cross-entropy over the images in evaluation mode, without autocast.

    Args:
        network: The members.
        stack: Members computed together.
        images: Plain images `[n, channels, height, width]`, the same for all.
        labels: Given labels int64 `[members, n]`.
        batch: Images in a pass.
    """
    parts = []
    for start in range(0, network.members, stack):
        stop = min(start + stack, network.members)
        parameters, buffers = network.sliced(start, stop)
        parts.append(_of_some(network, parameters, buffers, images, labels[start:stop], batch))
    return torch.cat(parts)


def _of_some(
    network: StackedState, parameters: State, buffers: State, images: Tensor, labels: Tensor, batch: int
) -> Tensor:
    members, total = labels.shape
    places = [slice(start, start + batch) for start in range(0, total, batch)]

    def logits(own: State, place: slice) -> Tensor:
        some = images[place].expand(members, *images[place].shape)
        return network.forward(own, buffers, some, training=False, exact=True)

    def loss(own: State, place: slice) -> Tensor:
        return cross_entropy(logits(own, place), labels[:, place]) * (labels[:, place].shape[1] / total)

    ascent = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for place in places:
        for name, gradient in grad(loss)(parameters, place).items():
            ascent[name] += gradient

    @torch.no_grad()
    def losses(own: State) -> Tensor:
        found = [F.cross_entropy(logits(own, p).transpose(1, 2), labels[:, p], reduction="none") for p in places]
        return torch.cat(found, dim=1).mean(dim=1)

    return losses(perturbed(parameters, ascent, RADIUS)) - losses(parameters)
