"""Label maps: the classes that networks predict on every grid point of every plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dbviz_ray.errors import UserError
from dbviz_ray.planes import GridPoints, PlaneSet

MAX_CLASSES = 256
"""Labels are stored as uint8."""

Classifier = Callable[[Tensor], Tensor]
"""Anything that maps images `[n, channels, height, width]` to scores `[n, classes]`."""


def default_batch(device: torch.device) -> int:
    """Points in a batch. On a CPU a batch's activations should stay in a core's cache."""
    return 1000 if device.type == "cpu" else 25_000


@torch.inference_mode()
def label_maps(
    network: Classifier, planes: PlaneSet, device: torch.device, *, batch_points: int | None = None
) -> Tensor:
    """Predicted classes on every grid point: uint8 `[planes, resolution (b), resolution (a)]`, on the CPU.

    The class is the first one with the highest score, as in `argmax`. A module is evaluated in evaluation mode and
    in the precision of its parameters. Points are built on the device; only labels leave it. Where the network begins
    with a linear layer over the flattened image, that layer is applied to the planes instead of the points.
    """
    grid, network_of_grid = _folded(GridPoints(planes, device, dtype_of(network)), network)
    labels = torch.empty(len(planes), planes.resolution, planes.resolution, dtype=torch.uint8, device=device)
    with evaluating(network):
        batch = batch_points or default_batch(device)
        while not _labelled(labels, grid, network_of_grid, batch):
            batch //= 2
    return labels.cpu()


def _labelled(labels: Tensor, grid: GridPoints, network: Classifier, batch: int) -> bool:
    """Fill `labels`, `batch` points at a time; False if they do not fit into the memory and fewer might."""
    try:
        for some_planes, some_rows, points in grid.batches(batch):
            scores = network(points)
            check_scores(scores)
            block = labels[some_planes, some_rows]
            block.copy_(scores.max(dim=1).indices.view(block.shape))
    except torch.OutOfMemoryError:
        if batch == 1:
            raise
        return False
    return True


def _folded(grid: GridPoints, network: Classifier) -> tuple[GridPoints, Classifier]:
    """A network that flattens its images into a linear layer takes that layer's outputs, found once a plane."""
    if type(network) is not nn.Sequential or len(network) < 3 or _has_hooks(network):
        return grid, network
    flatten, linear = network[0], network[1]
    flattens = type(flatten) is nn.Flatten and (flatten.start_dim, flatten.end_dim) == (1, -1)
    if not flattens or type(linear) is not nn.Linear or any(_has_hooks(layer) for layer in (flatten, linear)):
        return grid, network
    return grid.through(linear), network[2:]


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def check_scores(scores: Tensor) -> None:
    """UserError unless `scores` are `[n, classes]` with classes that a stored label can hold."""
    if scores.ndim != 2 or scores.shape[1] > MAX_CLASSES:
        got = f"{scores.shape[1]} classes" if scores.ndim == 2 else f"scores of shape {tuple(scores.shape)}"
        raise UserError(
            f"model: {got} are not allowed; allowed: scores [n, classes] with at most {MAX_CLASSES} classes"
        )


def dtype_of(network: Classifier) -> torch.dtype:
    """The precision of a module's parameters; float32 for anything else."""
    if isinstance(network, nn.Module):
        floating = (p.dtype for p in network.parameters() if p.is_floating_point())
        return next(floating, torch.float32)
    return torch.float32


@contextmanager
def evaluating(network: Classifier) -> Iterator[None]:
    """Evaluation mode, and afterwards whatever mode each module was in."""
    if not isinstance(network, nn.Module):
        yield
        return
    was_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True
