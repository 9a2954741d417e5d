"""Margins: the distance (L2 in normalised pixels) from an image to the first change of the predicted class, along lines
to other images (arXiv 2203.08124, Section 4). A coarse scan brackets the change and bisection narrows it down, as the
paper says; its code takes the last point of the scan before the change.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from dbviz_ray.config import MarginsConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.label_maps import Classifier, dtype_of, evaluating, label_type, scores_of, without_first_layer
from dbviz_ray.store import Store, StoredMargins
from dbviz_ray.training.allocations import within_memory

PAPER_STEPS = {0.01: 11, 0.1: 9, 0.5: 31, 1.0: 25, 10.0: 25, 20.0: 98}
"""How often the scan of the paper's code takes a step of each length (L2 in normalised pixels), one after another."""
MAX_DRAWS = 1000
FOLDED_AT_ONCE = 1000
"""Images that go through a first linear layer together, in float64."""


@dataclass(frozen=True)
class MarginLines:
    """Lines between images and how they are searched, the same for every model.

    images: float32 `[m, channels, height, width]`, normalised, every image at the start or the end of a line.
    indices: int64 `[m]`, their places in the split.
    starts: int64 `[images]`, and partners: int64 `[images, directions]`, places in `images`.
    config: how they are searched.
    """

    images: Tensor
    indices: Tensor
    starts: Tensor
    partners: Tensor
    config: MarginsConfig

    @cached_property
    def lengths(self) -> Tensor:
        """Distances between the two images of each line: float64 `[images, directions]`."""
        apart = [
            (self.images[partners] - self.images[start]).double().flatten(1).norm(dim=1)
            for start, partners in zip(self.starts, self.partners, strict=True)
        ]
        return torch.stack(apart)

    @property
    def scale(self) -> Tensor:
        """What 1 in `places_of(config)` is on each line, L2 in normalised pixels: float64 `[images, directions]`."""
        return self.lengths if self.config.scan == "even" else torch.ones_like(self.lengths)

    @property
    def reaches(self) -> Tensor:
        """Length of the search on each line, L2 in normalised pixels: float64 `[images, directions]`."""
        return self.scale * places_of(self.config)[-1]

    @property
    def halvings(self) -> int:
        """Bisections until the longest coarse step is no longer than the tolerance."""
        step = self.config.reach / self.config.steps if self.config.scan == "even" else max(PAPER_STEPS)
        return max(0, math.ceil(math.log2(float(self.scale.max()) * step / self.config.tolerance)))

    @property
    def points(self) -> int:
        """At most: the images, and all points of scan and bisection on every line."""
        return len(self.starts) + self.partners.numel() * (len(places_of(self.config)) - 1 + self.halvings)

    def do(self, network: Classifier, device: torch.device, store: Store, model_id: str, epoch: int) -> None:
        """Find and write the margins of `network`, the model after `epoch`."""
        found = margins(network, self, device)
        stored = StoredMargins(
            indices=self.indices[self.starts].numpy().astype(np.int32),
            predicted=found.predicted.numpy(),
            distances=found.distances.numpy(),
            reaches=self.reaches.float().numpy(),
            facts=self.config.model_dump(exclude={"images", "directions"}),
        )
        store.write_margins(model_id, epoch, stored)


@dataclass(frozen=True)
class FoundMargins:
    """The margins of one network."""

    predicted: Tensor
    """Predicted classes of the images, `[images]`, of the type of labels."""
    distances: Tensor
    """float32 `[images, directions]`; inf where the class does not change within reach."""


def places_of(config: MarginsConfig) -> Tensor:
    """The points of the scan from 0 on, float64 `[points]`: in distances to the other image, or in L2 if scan=paper."""
    if config.scan == "even":
        return torch.linspace(0, config.reach, config.steps + 1, dtype=torch.float64)
    lengths, counts = torch.tensor(list(PAPER_STEPS), dtype=torch.float64), torch.tensor(list(PAPER_STEPS.values()))
    return torch.cat([lengths.new_zeros(1), lengths.repeat_interleave(counts).cumsum(0)])


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
    used, rows = torch.from_numpy(indices), torch.from_numpy(places.reshape(len(drawn), -1))
    return MarginLines(normalised(images[used]), used, rows[:, 0].clone(), rows[:, 1:].clone(), config)


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

    The scan evaluates `places_of(lines.config)` on each line. Between the first point of another class and the point
    before it, bisection narrows the change to an interval no longer than `lines.config.tolerance`; the result is its
    middle. The scan misses a change that is undone before its next point; of several changes between two points it may
    find any. Networks are evaluated as in `label_planes`.
    """
    with evaluating(network):
        layer, rest, batch = without_first_layer(network, lines.images[:3], device)
        images = lines.images.to(device) if layer is None else _mapped(lines.images, layer, device)
        images = images.to(dtype_of(network))
        return within_memory(lambda size: _Search(lines, images, rest, size).found(), batch_points or batch)


def _mapped(images: Tensor, layer: nn.Linear, device: torch.device) -> Tensor:
    """The images after a first layer, which maps lines to lines, in float64."""
    weight = layer.weight.detach().to(device, torch.float64)
    mapped = torch.cat([part.to(device).double().flatten(1) @ weight.T for part in images.split(FOLDED_AT_ONCE)])
    if layer.bias is not None:
        mapped += layer.bias.detach().to(device, torch.float64)
    return mapped


class _Search:
    """A search along all lines, `batch` points at a time. A place on a line is s, its share of the way to y."""

    def __init__(self, lines: MarginLines, images: Tensor, network: Classifier, batch: int) -> None:
        self._lines, self._images, self._network, self._batch = lines, images, network, batch
        device, directions = images.device, lines.partners.shape[1]
        self._starts = lines.starts.to(device)
        self._partners = lines.partners.flatten().to(device)
        self._of_line = self._starts.repeat_interleave(directions)
        self._coarse = places_of(lines.config).to(device, images.dtype)
        self._scale = (lines.scale / lines.lengths).flatten().to(device, images.dtype)

    def found(self) -> FoundMargins:
        at_images = torch.cat([self._classes(self._images[rows]) for rows in self._starts.split(self._batch)])
        self._class = at_images.repeat_interleave(self._lines.partners.shape[1])
        first = self._first_different_step()
        changing = first.nonzero()[:, 0]
        low, high = (self._coarse[at] * self._scale[changing] for at in (first[changing] - 1, first[changing]))
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
        while step < len(self._coarse) and len(searched):
            together = max(1, self._batch // len(searched))
            places = self._coarse[step : step + together] * self._scale[searched, None]
            differs = self._differs(searched, places)
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
