"""The sharpness of a minimum, which sharpness-aware minimisation (Foret et al., arXiv 2010.01412) lowers."""

from __future__ import annotations

import torch
from torch import Tensor

from dbviz_ray.training.gradients import State, perturbed
from dbviz_ray.training.losses import cross_entropy
from dbviz_ray.training.network import StackedState

RADIUS = 0.05
"""rho in the definition, the same for every model (the default of Foret et al.)."""
IMAGES = 1000
"""The most training images used."""
BATCH = 128
"""Images at a time, unless only fewer fit into memory."""


def sharpness(network: StackedState, images: Tensor, labels: Tensor, batch: int = BATCH) -> Tensor:
    """L(w + rho * g / |g|) - L(w) with g = grad L(w), for every member: float `[members]`.

    L is the mean cross-entropy over the images in evaluation mode, without autocast. It is computed for one member and
    few images at a time: a training that fits into a GPU's memory must not fail at its end.

    Args:
        network: The members.
        images: Plain images `[n, channels, height, width]`, the same for all.
        labels: Given labels int64 `[members, n]`.
        batch: Images at a time.
    """
    return torch.cat([_of_one(network, images, labels, batch, member) for member in range(network.members)])


def _of_one(network: StackedState, images: Tensor, labels: Tensor, batch: int, member: int) -> Tensor:
    parameters, buffers = network.sliced(member, member + 1)
    given = labels[member : member + 1]
    total = len(images)
    places = [slice(start, start + batch) for start in range(0, total, batch)]

    def logits(own: State, place: slice) -> Tensor:
        return network.forward(own, buffers, images[None, place], training=False, exact=True)

    def loss(own: State, place: slice) -> Tensor:
        return cross_entropy(logits(own, place), given[:, place]) * (given[:, place].shape[1] / total)

    ascent = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for place in places:
        # torch.func.grad would keep tensors for second derivatives and need twice the memory.
        leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        gradients = torch.autograd.grad(loss(leaves, place), list(leaves.values()), allow_unused=True)
        for total_gradient, gradient in zip(ascent.values(), gradients, strict=True):
            if gradient is not None:
                total_gradient += gradient
    with torch.no_grad():
        moved = perturbed(parameters, ascent, RADIUS)
        difference = sum(loss(moved, place) - loss(parameters, place) for place in places)
    return torch.as_tensor(difference)[None]
