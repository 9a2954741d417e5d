"""The sharpness of a minimum."""

from functools import partial

import torch
from torch import Tensor

from dbviz_ray.training.gradients import cross_entropy, perturbed
from dbviz_ray.training.states import MemberStates

RADIUS = 0.05
"""rho in the definition of sharpness, the same for every model (the default of Foret et al.)."""
IMAGES = 1000
"""The most training images that sharpness is computed on."""
BATCH = 128
"""Images at a time, unless only fewer fit into memory."""


def sharpness(network: MemberStates, images: Tensor, labels: Tensor, batch: int = BATCH) -> Tensor:
    """L(w + rho * g / |g|) - L(w) with g = grad L(w), for every member: float `[members]`.

    Sharpness-aware minimisation lowers it (Foret et al., arXiv 2010.01412). L is the mean cross-entropy over plain
    images `[n, channels, height, width]` with given labels int64 `[members, n]`, in evaluation mode, without autocast,
    of one member and `batch` images at a time: a training that fits into a GPU's memory must not fail at its end.
    """
    return torch.stack([_sharpness_of(network, images, labels, batch, member) for member in range(network.members)])


def _sharpness_of(network: MemberStates, images: Tensor, labels: Tensor, batch: int, member: int) -> Tensor:
    parameters, _ = network.sliced(member, member + 1)
    parts = list(zip(images.split(batch), labels[member : member + 1].split(batch, dim=1), strict=True))

    def share_of_loss(given: Tensor, logits: Tensor) -> Tensor:
        return cross_entropy(logits, given) * (given.shape[1] / len(images))

    def change(some: Tensor, given: Tensor) -> Tensor:  # a network may change its input
        both = (network.evaluated(member, of, some.clone()) for of in (moved, parameters))
        after, before = (share_of_loss(given, logits) for logits in both)
        return after - before

    ascent = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for some, given in parts:
        of_some = network.evaluation_gradient(member, some.clone(), partial(share_of_loss, given))
        for name, total in ascent.items():
            total += of_some[name]
    with torch.no_grad():
        moved = perturbed(parameters, ascent, RADIUS)
        return sum((change(*part) for part in parts), start=images.new_zeros(()))
