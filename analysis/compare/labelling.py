"""What models predict: on images, and round by round on planes, so that an interruption leaves planes of all models."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dbviz_ray.architectures.outputs import NoScoresError, ProbabilityOfOne
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.evaluation.label_maps import Classifier, default_batch, dtype_of, evaluating, label_planes, scores_of
from dbviz_ray.planes import PlaneSet
from dbviz_ray.training.allocations import within_memory

ROUNDS = 10
TOGETHER = 10
"""Planes that are labelled between two reports of progress, and fewest planes of a round."""
STEADY_IMAGES, STEADY = 32, 0.002
"""How many images are scored again, and how far rounding may move their scores, as a share of the range of scores."""


@dataclass(frozen=True)
class Labels:
    """The predictions of models."""

    names: tuple[str, ...]
    classes: int
    predicted: NDArray[np.int64]
    """On the images, `[models, images]`."""
    maps: NDArray[Any]
    """On the first planes of a set: uint8 or uint16 `[models, planes, resolution (b), resolution (a)]`."""
    probabilities: tuple[str, ...] = ()
    """The models whose one score for each image is taken as the probability of class 1."""

    @property
    def planes(self) -> int:
        """How many are labelled."""
        return int(self.maps.shape[1])

    def read(self, name: str, network: Classifier) -> Classifier:
        """A model, with the scores that its output means."""
        return ProbabilityOfOne(name, network) if name in self.probabilities else network


@dataclass(frozen=True)
class Labeller:
    """Labels images and planes with models."""

    networks: Callable[[], Iterable[tuple[str, Classifier]]]
    """Gives the names of the models, all different, and the models, old before new. It is called once a round, so that
    models that do not fit into memory together can be loaded one by one."""
    images: Tensor
    """`[n, channels, height, width]`"""
    planes: PlaneSet
    device: torch.device
    """Of models without parameters; the others get their points where their parameters are."""
    batch_points: int | None = None
    """Points in a batch; by default what suits the device."""
    advance: Callable[[str, int], None] = lambda name, points: None
    """Called now and then with a model's name and how many images and points of planes it has labelled."""

    def begin(self) -> Labels:
        """Label the images; no planes yet.

        UserError about a model with other classes than the first, or that is no function from images to scores.
        """
        if self.batch_points is not None and (not isinstance(self.batch_points, int) or self.batch_points < 1):
            raise UserError("batch_points", self.batch_points, allowed="an integer, at least 1, or unset")
        found = {name: self._on_images(name, network) for name, network in self.networks()}
        (first, (_, classes, _)), *others = found.items()
        for name, (_, own, _) in others:
            if own != classes:
                reason = f"{first} has {classes} classes and {name} has {own}"
                raise UserError("models", reason=reason, allowed="models with the same classes")
        none = np.empty((len(found), 0, *[self.planes.resolution] * 2), np.uint8)
        probabilities = tuple(name for name, (_, _, is_one) in found.items() if is_one)
        return Labels(tuple(found), classes, np.stack([of[0] for of in found.values()]), none, probabilities)

    def extended(self, labels: Labels) -> Labels:
        """`labels` with one round of planes more, labelled by every model."""
        start, count = labels.planes, len(self.planes)
        end = min(start + max(TOGETHER, -(-count // ROUNDS)), count)
        maps = np.stack([self._on_planes(name, labels.read(name, each), start, end) for name, each in self.networks()])
        return replace(labels, maps=np.concatenate([labels.maps, maps], axis=1))

    def _device(self, network: Classifier) -> torch.device:
        tensors = chain(network.parameters(), network.buffers()) if isinstance(network, nn.Module) else iter(())
        return next((tensor.device for tensor in tensors), self.device)

    def _on_planes(self, name: str, network: Classifier, start: int, end: int) -> NDArray[Any]:
        device, maps = self._device(network), []
        for first in range(start, end, TOGETHER):
            last = min(first + TOGETHER, end)
            some = self.planes.part(range(first, last))
            with _told_as(name, some.image_shape):
                labelled = label_planes(network, some, device, batch_points=self.batch_points)
            if not labelled.numbers:
                reason = "some of its scores on the planes are NaN"
                raise UserError(name, reason=reason, allowed="numbers that can be compared")
            maps.append(labelled.labels.numpy())
            self.advance(name, len(self.images) + last * self.planes.resolution**2)
        return np.concatenate(maps)

    @torch.no_grad()
    def _on_images(self, name: str, network: Classifier) -> tuple[NDArray[np.int64], int, bool]:
        """Predicted classes `[images]`, the number of classes, and whether it gives probabilities of class 1."""
        with suppress(UserError):
            return *self._predictions(name, ProbabilityOfOne(name, network)), True
        return *self._predictions(name, network), False

    def _predictions(self, name: str, network: Classifier) -> tuple[NDArray[np.int64], int]:
        device, dtype = self._device(network), dtype_of(network)

        def attempt(size: int) -> list[tuple[Tensor, int]]:
            batches = (_scores(name, network, part.to(device, dtype, copy=True)) for part in self.images.split(size))
            return [(scores.argmax(1).cpu(), scores.shape[1]) for scores in batches]

        with evaluating(network):
            _check_steady(name, network, self.images[:STEADY_IMAGES].to(device, dtype))
            batch = self.batch_points or default_batch(device, math.prod(self.images.shape[1:]))
            predicted, classes = zip(*within_memory(attempt, batch), strict=True)
        self.advance(name, len(self.images))
        return torch.cat(predicted).numpy(), classes[0]


def _check_steady(name: str, network: Classifier, images: Tensor) -> None:
    """UserError unless the scores of an image are the same in the next call, and in a batch with fewer others."""
    half = max(2, len(images) // 2)
    first, again, fewer = (_scores(name, network, some.clone()) for some in (images, images, images[:half]))
    allowed = STEADY * (first.amax() - first.amin())
    if (again - first).abs().amax() > allowed:
        reason = "its scores of the same images change from call to call; is dropout on?"
    elif (fewer - first[:half]).abs().amax() > allowed:
        reason = "its scores of an image depend on the batch; does it use batch statistics?"
    else:
        return
    raise UserError(name, reason=reason, allowed="a function of the image")


def _scores(name: str, network: Classifier, images: Tensor) -> Tensor:
    """A network's scores of images. UserError unless they are a row of numbers for each image."""
    with _told_as(name, images.shape[1:]):
        scores = scores_of(network, images)
    if scores.isnan().any():
        raise UserError(name, reason="some of its scores are NaN", allowed="numbers that can be compared")
    return scores


@contextmanager
def _told_as(name: str, shape: Sequence[int]) -> Iterator[None]:
    """UserError about the network `name` for whatever it raises on images of this shape."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except UserError as error:
        raise error.renamed(lambda _: name) from None
    except NoScoresError as error:
        raise UserError(name, reason=str(error), allowed="a tensor of scores [n, classes]") from None
    except Exception as error:  # a user's own code may raise anything
        told = one_line(error, with_type=True)
        reason = f"fails on images of shape {tuple(shape)} (channels, height, width): {told}"
        raise UserError(name, reason=reason) from error
