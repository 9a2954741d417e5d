"""Label maps: the class that a network predicts at every grid point of every plane, and its probabilities."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.datasets.dataset import MOST_CLASSES
from dbviz_ray.errors import UserError
from dbviz_ray.planes import GridPoints, PlaneSet
from dbviz_ray.training.allocations import within_memory
from dbviz_ray.training.states import kept

SMALL = 3 * 32 * 32
"""Numbers in an image up to which a batch has its full size."""
FEATURES_TOGETHER = 500_000
"""Numbers after a first linear layer that a CPU computes at a time: 2 MB in float32, about a core's cache."""

Classifier = Callable[[Tensor], Tensor]
"""Anything that maps images `[n, channels, height, width]` to scores `[n, classes]`, or to one logit each."""


def label_type(classes: int) -> torch.dtype:
    """The smallest type of labels that holds this number of classes."""
    return torch.uint8 if classes <= 256 else torch.uint16


def default_batch(device: torch.device, pixels: int, features: int | None = None) -> int:
    """Points in a batch, each an image of `pixels` numbers. Of large images there are fewer, so that memory is bounded.

    On a CPU the activations of a batch should fit into a core's cache. `features` are what a first layer that is
    applied to the planes makes of a point; with few of them, larger batches save calls.
    """
    most, least = (1000, 64) if device.type == "cpu" else (25_000, 512)
    if device.type == "cpu" and features is not None:
        return min(5000, max(500, FEATURES_TOGETHER // features))
    return min(most, max(least, most * SMALL // pixels))


@dataclass(frozen=True)
class PlaneLabels:
    """The predictions of a network at every grid point, on the CPU."""

    labels: Tensor
    """Predicted classes: uint8, or uint16 from 257 classes on, `[planes, resolution (b), resolution (a)]`."""
    probabilities: Tensor | None
    """Softmax of the scores, computed in float32: float16 `[planes, resolution (b), resolution (a), classes]`."""
    numbers: bool
    """Whether all scores are numbers; the label of a point with NaN scores is meaningless."""


@torch.no_grad()  # and not inference_mode: a network may take gradients, or keep tensors that it makes
def label_planes(
    network: Classifier,
    planes: PlaneSet,
    device: torch.device,
    *,
    probabilities: bool = False,
    half: bool = False,
    batch_points: int | None = None,
) -> PlaneLabels:
    """Predict the class at every grid point, and the probabilities if asked for, in one forward pass.

    The class is the first one with the highest score, as in `argmax`. A module is evaluated in evaluation mode and in
    the precision of its parameters; `half`: under autocast to bfloat16. Points are built on the device; only labels and
    probabilities leave it. If the network begins with a linear layer over the flattened image, that layer is applied to
    the planes instead of the points.
    """

    def attempt(batch: int) -> PlaneLabels:
        sides = len(planes), planes.resolution, planes.resolution
        labels = torch.empty(0)
        shares: Tensor | None = None
        lost = torch.zeros((), dtype=torch.bool, device=device)  # read once, since reading waits for the GPU
        for some_planes, some_rows, points in grid.batches(batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                scores = scores_of(rest, points)
            if not labels.numel():
                labels = torch.empty(sides, dtype=label_type(scores.shape[1]), device=device)
            block = labels[some_planes, some_rows]
            highest = scores.max(dim=1)
            block.copy_(highest.indices.view(block.shape))
            lost |= highest.values.isnan().any()
            if probabilities:
                if shares is None:
                    shares = torch.empty(*sides, scores.shape[1], dtype=torch.float16, device=device)
                shares[some_planes, some_rows] = scores.float().softmax(dim=1).half().view(*block.shape, -1)
        return PlaneLabels(labels.cpu(), None if shares is None else shares.cpu(), not lost)

    with evaluating(network):
        grid, rest, batch_size = _folded(network, planes, device)
        return within_memory(attempt, batch_points or batch_size)


@torch.no_grad()
def label_points(
    network: Classifier, planes: PlaneSet, places: Tensor, device: torch.device, *, batch_points: int | None = None
) -> Tensor:
    """The labels of the only plane of `planes` at grid points `[2 (row of b, column of a), n]`: `[n]`, on the CPU."""

    def attempt(batch: int) -> Tensor:
        return torch.cat([scores_of(rest, points).argmax(1) for points in grid.at(places, batch)]).cpu()

    with evaluating(network):
        grid, rest, batch_size = _folded(network, planes, device)
        return within_memory(attempt, batch_points or batch_size)


def _folded(network: Classifier, planes: PlaneSet, device: torch.device) -> tuple[GridPoints, Classifier, int]:
    """The points after a first linear layer, the rest of the network, and how many points to take at a time."""
    grid = GridPoints(planes, device, dtype_of(network))
    layer, rest, batch = without_first_layer(network, planes.anchors[0], device)
    return (grid if layer is None else grid.through(layer)), rest, batch


def without_first_layer(
    network: Classifier, images: Tensor, device: torch.device
) -> tuple[nn.Linear | None, Classifier, int]:
    """`first_linear_layer`, or None and the whole network, and how many points to take at a time."""
    layer, rest = first_linear_layer(network, images.to(device, dtype_of(network))) or (None, network)
    return layer, rest, default_batch(device, images[0].numel(), None if layer is None else layer.out_features)


def first_linear_layer(network: Classifier, images: Tensor) -> tuple[nn.Linear, Classifier] | None:
    """The linear layer over the flattened image with which a network begins, and the rest of the network; else None.

    Such a layer maps planes to planes and lines to lines, so it can be applied to the images that span them. Hooks and
    replaced methods may do more: on a few `images` both parts together must be the network.
    """
    if type(network) is not nn.Sequential or len(network) < 3:
        return None
    flatten, linear = network[0], network[1]
    flattens = type(flatten) is nn.Flatten and (flatten.start_dim, flatten.end_dim) == (1, -1)
    if not flattens or type(linear) is not nn.Linear:
        return None
    rest = _ending_transposed(network[2:]) if linear.weight.device.type == "cpu" else network[2:]
    whole = logits_of(network(images.clone()))
    parts = logits_of(rest(F.linear(images.flatten(1), linear.weight, linear.bias)))
    size = float(whole.nan_to_num(0, 0, 0).abs().max())  # a diverged network's are not finite
    is_same = whole.shape == parts.shape and torch.allclose(whole, parts, 1e-3, 1e-3 * size, equal_nan=True)
    return (linear, rest) if is_same else None


def _ending_transposed(layers: nn.Sequential) -> Classifier:
    """The layers, whose last one, if linear, computes scores `[classes, n]` and returns a view of them.

    With ten classes this takes a CPU half as long.
    """
    body, last = layers[:-1], layers[-1]
    if type(last) is not nn.Linear:
        return layers

    def scores(points: Tensor) -> Tensor:
        features = body(points)
        if features.ndim != 2:
            return last(features)  # type: ignore[no-any-return]
        if last.bias is None:
            return (last.weight @ features.T).T
        return torch.addmm(last.bias[:, None], last.weight, features.T).T

    return scores


def scores_of(network: Classifier, images: Tensor) -> Tensor:
    """A network's scores `[n, classes]` of n images; UserError unless there are 2 to `MOST_CLASSES` classes."""
    scores = logits_of(network(images))
    if scores.ndim != 2 or len(scores) != len(images) or not 2 <= scores.shape[1] <= MOST_CLASSES:
        reason = f"returns scores of shape {tuple(scores.shape)} for {len(images)} images"
        raise UserError("model", reason=reason, allowed=f"scores [n, classes] of 2 to {MOST_CLASSES:,} classes")
    return scores


def dtype_of(network: Classifier) -> torch.dtype:
    """The precision of a module's parameters, or of its buffers without any; float32 for other classifiers."""
    tensors = chain(network.parameters(), network.buffers()) if isinstance(network, nn.Module) else ()
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


@contextmanager
def evaluating(network: Classifier) -> Iterator[None]:
    """Within the block the network is in evaluation mode; afterwards its modes and tensors are as before."""
    if not isinstance(network, nn.Module):
        yield
        return
    modes = {module: module.training for module in network.modules() if hasattr(module, "training")}
    named: list[Any] = [own for module in network.modules() for own in (module._parameters, module._buffers)]
    names = [(own, own.copy()) for own in named if isinstance(own, dict)]  # a script has others
    tensors = [tensor for tensor in chain(network.parameters(), network.buffers()) if not is_lazy(tensor)]
    whole = {str(n): own for n, own in enumerate(tensors) if own.layout == torch.strided and not own.is_meta}
    with kept(whole):
        if any(modes.values()):  # a frozen module has no modes
            with suppress(NotImplementedError):  # nor has a program of torch.export
                network.eval()
        try:
            yield
        finally:
            try:
                if any(modes.values()):
                    with suppress(NotImplementedError):
                        network.train(modes.get(network, False))  # which may change tensors
            finally:
                for module, mode in modes.items():
                    module.training = mode
                for own, before in names:
                    own.clear()
                    own.update(before)


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """Within the block torch computes with `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
