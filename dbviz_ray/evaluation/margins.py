"""Margins: the distance (L2 in normalised pixels) from an image to the first change of the predicted class, along lines
to other images (arXiv 2203.08124, Section 4). The paper's code scans a fixed list of steps; here a coarse scan brackets
the change and bisection narrows it down.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config import MarginsConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.label_maps import (
    Classifier,
    default_batch,
    dtype_of,
    evaluating,
    first_linear_layer,
    label_type,
    scores_of,
)
from dbviz_ray.training.allocations import within_memory

MAX_DRAWS = 1000
FOLDED_AT_ONCE = 1000
"""Images that go through a first linear layer together, in float64."""


@dataclass(frozen=True)
class MarginLines:
    """Lines between images and how they are searched, the same for every model.

    images: float32 `[m, channels, height, width]`, normalised, every image at the start or the end of a line.
    indices: int64 `[m]`, their places in the split.
    starts: int64 `[images]`, and partners: int64 `[images, directions]`, places in `images`.
    steps, reach, tolerance: see `MarginsConfig`.
    """

    images: Tensor
    indices: Tensor
    starts: Tensor
    partners: Tensor
    steps: int
    reach: float
    tolerance: float

    @property
    def start_indices(self) -> Tensor:
        """Places in the split of the images at which lines start: int64 `[images]`."""
        return self.indices[self.starts]

    @cached_property
    def lengths(self) -> Tensor:
        """Distances between the two images of each line: float64 `[images, directions]`."""
        apart = [
            (self.images[partners] - self.images[start]).double().flatten(1).norm(dim=1)
            for start, partners in zip(self.starts, self.partners, strict=True)
        ]
        return torch.stack(apart)

    @property
    def halvings(self) -> int:
        """Bisections until the longest coarse step is no longer than the tolerance."""
        longest = float(self.lengths.max()) * self.reach / self.steps
        return max(0, math.ceil(math.log2(longest / self.tolerance)))


@dataclass(frozen=True)
class FoundMargins:
    """The margins of one network."""

    predicted: Tensor
    """Predicted classes of the images, `[images]`, of the type of labels."""
    distances: Tensor
    """float32 `[images, directions]`; inf where the class does not change within reach."""


def draw_lines(
    images: Tensor, config: MarginsConfig, normalised: Callable[[Tensor], Tensor] = Tensor.float
) -> MarginLines:
    """Draw lines between `images` `[n, channels, height, width]` from the stream "margins"; `normalised` scales pixels.

    The partners of an image differ from each other and from it. They do not depend on `config.images`; a larger number
    only adds images.
    """
    check_enough(len(images), config)
    chosen = numpy_generator("margins", config.seed).permutation(len(images))[: config.images].tolist()
    drawn = [[start, *_draw_partners(images, start, config)] for start in chosen]
    indices, places = np.unique(np.array(drawn), return_inverse=True)
    rows = torch.from_numpy(places.reshape(len(drawn), -1))
    return MarginLines(
        images=normalised(images[torch.from_numpy(indices)]),
        indices=torch.from_numpy(indices),
        starts=rows[:, 0].clone(),
        partners=rows[:, 1:].clone(),
        steps=config.steps,
        reach=config.reach,
        tolerance=config.tolerance,
    )


def _draw_partners(images: Tensor, start: int, config: MarginsConfig) -> list[int]:
    generator = numpy_generator("margins", config.seed, start)
    partners: list[int] = []
    for _ in range(MAX_DRAWS * config.directions):
        partner = int(generator.integers(len(images)))
        if partner not in partners and not torch.equal(images[partner], images[start]):
            partners.append(partner)
        if len(partners) == config.directions:
            return partners
    reason = f"is not allowed: too few {config.split} images differ from image {start}"
    raise UserError("margins.directions", config.directions, reason=reason, allowed="fewer directions")


def check_enough(images: int, config: MarginsConfig) -> None:
    """UserError if a split with this number of images is too small for the directions of `config`."""
    if images <= config.directions:
        reason = f"is not allowed with {images} {config.split} images"
        raise UserError("margins.directions", config.directions, reason=reason, allowed="fewer than there are images")


@torch.no_grad()
def margins(
    network: Classifier, lines: MarginLines, device: torch.device, *, batch_points: int | None = None
) -> FoundMargins:
    """Find the predicted class of every image and, along every line, the distance to its first change.

    The scan evaluates `lines.steps` points of each line, evenly spaced up to `lines.reach` times its length. Between
    the first point of another class and the point before it, bisection narrows the change to an interval no longer than
    `lines.tolerance`; the result is its middle. The scan misses a change that is undone before its next point; of
    several changes between two points it may find any. Networks are evaluated as in `label_planes`.
    """
    batch = batch_points or default_batch(device, math.prod(lines.images.shape[1:]))
    with evaluating(network):
        images, rest = _folded(lines, network, device)
        return within_memory(lambda size: _Search(lines, images, rest, size).found(), batch)


def _folded(lines: MarginLines, network: Classifier, device: torch.device) -> tuple[Tensor, Classifier]:
    """The images and the network; or the images after its first layer, which maps lines to lines, and the rest."""
    dtype = dtype_of(network)
    folded = first_linear_layer(network, lines.images[:3].to(device, dtype))
    if folded is None:
        return lines.images.to(device, dtype), network
    layer, rest = folded
    weight = layer.weight.detach().to(device, torch.float64)
    mapped = [part.to(device).double().flatten(1) @ weight.T for part in lines.images.split(FOLDED_AT_ONCE)]
    images = torch.cat(mapped)
    if layer.bias is not None:
        images += layer.bias.detach().to(device, torch.float64)
    return images.to(dtype), rest


class _Search:
    """A search along all lines, `batch` points at a time. A place on a line is s, its share of the way to y."""

    def __init__(self, lines: MarginLines, images: Tensor, network: Classifier, batch: int) -> None:
        self._lines, self._images, self._network, self._batch = lines, images, network, batch
        device, directions = images.device, lines.partners.shape[1]
        self._starts = lines.starts.to(device)
        self._partners = lines.partners.flatten().to(device)
        self._of_line = self._starts.repeat_interleave(directions)
        self._coarse = torch.linspace(0, lines.reach, lines.steps + 1, dtype=torch.float64).to(device, images.dtype)

    def found(self) -> FoundMargins:
        at_images = torch.cat([self._classes(self._images[rows]) for rows in self._starts.split(self._batch)])
        self._class = at_images.repeat_interleave(self._lines.partners.shape[1])
        first = self._first_different_step()
        changing = first.nonzero()[:, 0]
        low, high = self._coarse[first[changing] - 1], self._coarse[first[changing]]
        for _ in range(self._lines.halvings):
            middle = (low + high) / 2
            differs = self._differs(changing, middle[:, None])[:, 0]
            low, high = torch.where(differs, low, middle), torch.where(differs, middle, high)
        shares = torch.full(self._partners.shape, math.inf, dtype=torch.float64)
        shares[changing.cpu()] = ((low.double() + high.double()) / 2).cpu()
        distances = shares.view_as(self._lines.lengths) * self._lines.lengths
        return FoundMargins(at_images.cpu().to(self._label_type), distances.float())

    def _first_different_step(self) -> Tensor:
        """The first step of each line with another class than the image, or 0: int64 `[lines]`.

        The lines without a change so far advance together, by as many steps as fill a batch.
        """
        first = torch.zeros_like(self._partners)
        searched = torch.arange(len(first), device=first.device)
        step = 1
        while step <= self._lines.steps and len(searched):
            together = max(1, self._batch // len(searched))
            places = self._coarse[step : step + together]
            differs = self._differs(searched, places.expand(len(searched), -1))
            changes = differs.any(dim=1)
            first[searched[changes]] = step + differs[changes].to(torch.uint8).argmax(dim=1)
            searched = searched[~changes]
            step += together
        return first

    def _differs(self, lines: Tensor, shares: Tensor) -> Tensor:
        """Whether the class at the places `shares` `[n, k]` of n lines differs from the image's: bool `[n, k]`."""
        size = max(1, self._batch // shares.shape[1])
        parts = []
        for some, places in zip(lines.split(size), shares.split(size), strict=True):
            start = self._images.index_select(0, self._of_line[some])
            direction = self._images.index_select(0, self._partners[some]).sub_(start)
            wide = places.view(*places.shape, *[1] * (start.ndim - 1))
            points = torch.addcmul(start[:, None], wide, direction[:, None])
            classes = self._classes(points.flatten(0, 1)).view(places.shape)
            parts.append(classes != self._class[some, None])
        return torch.cat(parts)

    def _classes(self, points: Tensor) -> Tensor:
        scores = scores_of(self._network, points)
        self._label_type = label_type(scores.shape[1])
        return scores.max(dim=1).indices
