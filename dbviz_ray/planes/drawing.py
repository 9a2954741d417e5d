"""Draws the planes that a sweep asks for, through natural images or through images off the data manifold: shuffled
pixels, uniform noise and adversarial examples. The "off_manifold" stream draws these, for each plane separately.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.config import AdversaryConfig, PlaneSetConfig, SweepConfig, largest_noises
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.errors import UserError
from dbviz_ray.planes.geometry import Origin, PlaneSet, spans_plane
from dbviz_ray.planes.triplets import MAX_DRAWS, Candidates, draw_triplets
from dbviz_ray.training.gradients import attacked, pixel_limits

NATURAL = "natural"
ADVERSARIAL = (NATURAL, "adversarial", "random_direction")
BATCH = 100
"""Images attacked at a time."""


def draw_plane_set(
    config: PlaneSetConfig, dataset: Dataset, given: Tensor | None = None, network: nn.Module | None = None
) -> PlaneSet:
    """The planes that `config` asks for: distinct images, never collinear, drawn from the "planes" stream.

    The paper draws i.i.d. training images; its code draws test images with replacement until the labels differ. Here
    both splits are possible, and no image is twice in a triplet. `given` are the training labels int64 `[n]` that
    models see, needed unless `config.labels` is "any"; adversarial planes need the attacked `network`. UserError if the
    images do not allow such planes.
    """
    images, labels = dataset.split(config.images)
    indices = draw_triplets(dataset, config, given)
    anchors, kinds = dataset.normalised(images[indices]), (NATURAL, NATURAL, NATURAL)
    if config.off_manifold == "adversarial":
        if network is None:
            raise UserError("off_manifold", config.off_manifold, reason="needs a network to attack; none is given")
        anchors = _adversarial(anchors[:, 0], config, dataset, network)
        indices, kinds = indices[:, :1].expand(-1, 3), ADVERSARIAL
    elif config.off_manifold != "none":
        anchors = torch.stack([_replaced(natural, plane, config, dataset) for plane, natural in enumerate(anchors)])
        first = NATURAL if config.off_manifold_images == 2 else config.off_manifold
        kinds = (first, config.off_manifold, config.off_manifold)
    natural = torch.tensor([kind == NATURAL for kind in kinds])
    from_noise = torch.tensor([kind == "uniform_noise" for kind in kinds])
    sources, true = indices.where(~from_noise, -1), labels[indices].where(~from_noise, -1)
    origin = None if natural.all() else Origin(kinds, sources, config.attacked)
    return PlaneSet(anchors, indices.where(natural, -1), true, config.resolution, config.margin, origin)


def _replaced(natural: Tensor, plane: int, config: PlaneSetConfig, dataset: Dataset) -> Tensor:
    """A plane's `natural` images `[3, ...]`, the last `config.off_manifold_images` shuffled or replaced by noise."""
    kept, replaced = natural.split([3 - config.off_manifold_images, config.off_manifold_images])
    for attempt in range(MAX_DRAWS):
        generator = numpy_generator("off_manifold", config.seed, plane, attempt)
        if config.off_manifold == "shuffled":
            made = shuffled(replaced, generator)
        else:
            pixels = generator.uniform(0, dataset.pixel_range, replaced.shape)
            made = dataset.normalised(torch.from_numpy(pixels))
        triplet = torch.cat([kept, made])
        if spans_plane(triplet):
            return triplet
    reason = f"spans no plane number {plane} in {MAX_DRAWS} draws of its images"
    raise UserError("off_manifold", config.off_manifold, reason=reason)


def shuffled(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Images `[n, channels, height, width]` with the pixels of each in a random order; channels stay together."""
    height, width = images.shape[2:]
    orders = torch.from_numpy(np.stack([generator.permutation(height * width) for _ in images]))
    return images.flatten(2).gather(2, orders[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def _adversarial(natural: Tensor, config: PlaneSetConfig, dataset: Dataset, network: nn.Module) -> Tensor:
    """Anchors float32 `[planes, 3, ...]`: `natural` images, adversarial examples and images in a random direction.

    `natural` is `[planes, channels, height, width]`. UserError if an attack does not move an image, or if the network's
    training diverged.
    """
    generators = [numpy_generator("off_manifold", config.seed, plane) for plane in range(len(natural))]
    draws = np.stack([generator.uniform(-1, 1, (2, *natural.shape[1:])) for generator in generators])
    starts, directions = torch.from_numpy(draws).float().unbind(1)
    attack, batches = config.adversary or AdversaryConfig(), zip(natural.split(BATCH), starts.split(BATCH), strict=True)
    examples = torch.cat([adversarial_examples(network, *batch, attack, dataset) for batch in batches])
    signs = directions.sign() * pixel_limits(dataset, natural.device, natural.dtype)[2]
    anchors = torch.stack([natural, examples, natural + _beside(examples - natural, signs)], dim=1)
    lost = next((plane for plane, triplet in enumerate(anchors) if not spans_plane(triplet)), None)
    if lost is not None:
        reason = f"the attack does not move the image of plane {lost}"
        allowed = "another attacked model, adversary or seed"
        raise UserError("off_manifold", config.off_manifold, reason=reason, allowed=allowed)
    return anchors


def adversarial_examples(
    network: nn.Module, images: Tensor, start: Tensor, adversary: AdversaryConfig, dataset: Dataset
) -> Tensor:
    """`images` `[n, channels, height, width]` moved away from the classes that `network` predicts for them.

    The attack begins at `start`, shaped like images, between -1 and 1. It runs on the network's device and puts the
    network into evaluation mode.
    """
    parameter = next(network.parameters())
    network.eval()
    with torch.no_grad():
        placed = images.to(parameter)
        natural_scores = logits_of(network(placed))
        if not natural_scores.isfinite().all():
            reason, allowed = "the model's scores are not finite", "a model whose training did not diverge"
            raise UserError("attacked", reason=reason, allowed=allowed)
        predicted = natural_scores.argmax(dim=1)

        def gradient(moved: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = moved.detach().requires_grad_()
                loss = F.cross_entropy(logits_of(network(leaf)), predicted, reduction="sum")
            return torch.autograd.grad(loss, leaf)[0]

        limits = pixel_limits(dataset, parameter.device, parameter.dtype)
        return attacked(gradient, placed, start.to(parameter), adversary, limits).to(images)


def _beside(moves: Tensor, directions: Tensor) -> Tensor:
    """Moves `[n, ...]` along the parts of `directions` orthogonal to `moves`, and as long as these."""
    along, beside = moves.double().flatten(1), directions.double().flatten(1)
    length = along.norm(dim=1, keepdim=True)
    unit = along / length
    beside = beside - (beside * unit).sum(1, keepdim=True) * unit
    moved: Tensor = beside / beside.norm(dim=1, keepdim=True) * length
    return moved.view_as(moves).to(moves.dtype)


def draw_planes(images: Tensor, labels: Tensor, config: PlaneSetConfig) -> PlaneSet:
    """Planes through triplets of `images` (normalised, `[n, channels, height, width]`) with `labels` `[n]`."""
    with about_plane_set():
        indices = Candidates(lambda places: images[places], labels, called="images").triplets(config)
    return PlaneSet(images[indices].float(), indices, labels[indices], config.resolution, config.margin)


def check_plane_sets_possible(sweep: SweepConfig, dataset: Dataset) -> None:
    """Draw the triplets of natural images once; UserError if a plane set asks for impossible ones."""
    for name, planes in sweep.planes.items():
        with about_plane_set(name):
            draw_triplets(dataset, planes, representative_labels(sweep, name, dataset))


def representative_labels(sweep: SweepConfig, plane_set: str, dataset: Dataset) -> Tensor | None:
    """Training labels int64 `[n]`, false where they are in any model of the sweep; None if the plane set needs none."""
    if sweep.planes[plane_set].labels == "any":
        return None
    labels = dataset.train_labels
    for seed, noise in largest_noises(sweep.models()).items():
        given = given_labels(dataset, sweep.dataset.noise_kind, noise, seed)
        labels = given.where(given != dataset.train_labels, labels)
    return labels


@contextmanager
def about_plane_set(name: str = "") -> Iterator[None]:
    """Prefix the fields of a UserError with "planes" and the name of the plane set."""
    whole = f"planes.{name}" if name else "planes"
    try:
        yield
    except UserError as error:
        raise error.renamed(lambda field: f"{whole}.{field}" if field else whole) from None
