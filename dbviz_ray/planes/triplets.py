"""Draws the three images of every plane: distinct, never on one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import UserError
from dbviz_ray.planes.geometry import spans_plane

MAX_DRAWS = 1000

Places = NDArray[np.int64]
Images = Callable[[Places], Tensor]
"""Returns the normalised images `[n, channels, height, width]` at places of a split."""


@dataclass(frozen=True)
class _Pool:
    """Places of the images that a plane may go through."""

    allowed: Places
    mixed: tuple[Places, Places] | None = None
    """Places with a correct and with a false label, if every triplet must have both."""

    def triplet(self, generator: np.random.Generator) -> Places:
        """Three different places; all triplets that `mixed` allows are equally likely, in every order."""
        if self.mixed is None:
            return self.allowed[generator.choice(len(self.allowed), size=3, replace=False)]
        one_of_each = [int(generator.choice(places)) for places in self.mixed]
        third = one_of_each[0]
        while third in one_of_each:
            third = int(generator.choice(self.allowed))
        return generator.permutation(np.array([*one_of_each, third]))


def draw_triplets(dataset: Dataset, config: PlaneSetConfig, given: Tensor | None = None) -> Tensor:
    """Places int64 `[planes, 3]`, in the split, of the triplets that `config` asks for; see `triplets_of`."""
    images, labels = dataset.split(config.images)
    return triplets_of(lambda places: dataset.normalised(images[places]), labels, config, given)


def triplets_of(
    images: Images, labels: Tensor, config: PlaneSetConfig, given: Tensor | None = None, called: str | None = None
) -> Tensor:
    """Places int64 `[planes, 3]` of the triplets that `config` asks for, drawn from the "planes" stream.

    `labels` `[n]` are the true classes. `given` `[n]`, the labels that models are trained on, is needed unless
    `config.labels` is "any". Messages call the images `called`. UserError if there are no such triplets.
    """
    if config.indices is not None:
        return _given_triplets(images, len(labels), config, called or _called(config))
    check_possible(labels, config, given, called)
    pools = _pools(labels, config, given)
    generator = numpy_generator("planes", config.seed)
    classes = labels.numpy()
    triplets = [
        _triplet(images, classes, config, pools[i % len(pools)], generator, called or _called(config))
        for i in range(config.count)
    ]
    return torch.from_numpy(np.stack(triplets))


def check_possible(
    labels: Tensor, config: PlaneSetConfig, given: Tensor | None = None, called: str | None = None
) -> None:
    """UserError if images with these labels do not allow the planes that `config` asks for."""
    called = called or _called(config)
    if len(labels) < 3:
        raise UserError("", reason=f"{len(labels)} {called} are not enough; a plane needs 3")
    pools = _pools(labels, config, given)
    asked = f"classes={config.classes}" + f", labels={config.labels}" * (config.labels != "any")
    if not pools:
        raise UserError("", reason=f"{asked} finds no such {called}", allowed="other classes or labels")
    for pool in pools:
        within = f" of class {int(labels[pool.allowed[0]])}" if config.classes == "same" else ""
        if len(pool.allowed) < 3:
            raise UserError(
                "",
                reason=f"{asked} needs 3 such {called}{within}, there are {len(pool.allowed)}",
                allowed="other classes or labels",
            )
    classes = len(labels[torch.from_numpy(pools[0].allowed)].unique())
    if config.classes == "different" and classes < 3:
        raise UserError(
            "classes", config.classes, reason=f"needs images of 3 classes, these have {classes}", allowed="any, same"
        )


def _pools(labels: Tensor, config: PlaneSetConfig, given: Tensor | None) -> list[_Pool]:
    """The pools that triplets are drawn from in turn: one, or one for each class that has such images."""
    classes = labels.numpy()
    everything = np.ones(len(classes), dtype=bool)
    parts = [classes == c for c in np.unique(classes)] if config.classes == "same" else [everything]
    if config.labels == "any":
        return [_Pool(np.flatnonzero(part)) for part in parts]
    if given is None:
        reason = "needs the labels that models are trained on; none are given"
        raise UserError("labels", config.labels, reason=reason)
    correct = (given == labels).numpy()
    if config.labels == "mixed":
        kinds = [(np.flatnonzero(part & correct), np.flatnonzero(part & ~correct)) for part in parts]
        pools = [_Pool(np.sort(np.concatenate(kind)), kind) for kind in kinds]
        return [pool for pool in pools if all(map(len, pool.mixed or ()))]
    wanted = correct if config.labels == "correct" else ~correct
    return [_Pool(np.flatnonzero(part & wanted)) for part in parts if (part & wanted).any()]


def _triplet(
    images: Images, classes: Places, config: PlaneSetConfig, pool: _Pool, generator: np.random.Generator, called: str
) -> Places:
    for _ in range(MAX_DRAWS):
        triplet = pool.triplet(generator)
        if config.classes == "different" and len(set(classes[triplet].tolist())) < 3:
            continue
        if spans_plane(images(triplet)):
            return triplet
    raise UserError(
        "",
        reason=f"in {MAX_DRAWS} draws no three {called} span a plane as asked for; most are equal or lie on one line",
        allowed="images that differ",
    )


def _called(config: PlaneSetConfig) -> str:
    return f"{config.images} images"


def _given_triplets(images: Images, count: int, config: PlaneSetConfig, called: str) -> Tensor:
    triplets = np.array(config.indices, dtype=np.int64)
    for triplet in triplets:
        if triplet.max() >= count:
            reason = f"is not allowed with {count} {called}"
            raise UserError("indices", triplet.tolist(), reason=reason, allowed=f"0 to {count - 1}")
        if not spans_plane(images(triplet)):
            reason = f"is not allowed: these {called} lie on one line"
            raise UserError("indices", triplet.tolist(), reason=reason, allowed="three that span a plane")
    return torch.from_numpy(triplets)
