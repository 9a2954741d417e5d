"""Draws the three images of every plane: distinct, never on one line."""

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


@dataclass(frozen=True)
class Candidates:
    """The images that planes may go through."""

    images: Callable[[Places], Tensor]
    """Returns the normalised images `[n, channels, height, width]` at n places."""
    labels: Tensor
    """True classes int64 `[n]`."""
    called: str
    """What messages call the images."""
    given: Tensor | None = None
    """The labels `[n]` that models are trained on; needed unless a plane set's `labels` are "any"."""

    def triplets(self, config: PlaneSetConfig) -> Tensor:
        """Places int64 `[planes, 3]` of the triplets that `config` asks for, drawn from the "planes" stream.

        UserError if there are no such triplets.
        """
        if config.indices is not None:
            return torch.from_numpy(np.stack([self._checked(triplet) for triplet in config.indices]))
        pools = self._pools(config)
        generator = numpy_generator("planes", config.seed)
        triplets = [self._drawn(config, pools[plane % len(pools)], generator) for plane in range(config.count)]
        return torch.from_numpy(np.stack(triplets))

    def _checked(self, triplet: tuple[int, int, int]) -> Places:
        """A triplet that the configuration names."""
        last = len(self.labels) - 1
        if max(triplet) > last:
            reason = f"is not allowed with {last + 1} {self.called}"
            raise UserError("indices", list(triplet), reason=reason, allowed=f"0 to {last}")
        places = np.array(triplet, dtype=np.int64)
        if not spans_plane(self.images(places)):
            reason = f"is not allowed: these {self.called} lie on one line"
            raise UserError("indices", list(triplet), reason=reason, allowed="three that span a plane")
        return places

    def _pools(self, config: PlaneSetConfig) -> list[_Pool]:
        """The pools that triplets are drawn from in turn: one, or one for each class that has such images."""
        if len(self.labels) < 3:
            raise UserError("", reason=f"{len(self.labels)} {self.called} are not enough; a plane needs 3")
        classes = self.labels.numpy()
        everything = np.ones(len(classes), dtype=bool)
        parts = [classes == c for c in np.unique(classes)] if config.classes == "same" else [everything]
        pools = [pool for pool in (self._pool(part, config) for part in parts) if pool is not None]
        asked = f"classes={config.classes}" + f", labels={config.labels}" * (config.labels != "any")
        if not pools:
            raise UserError("", reason=f"{asked} finds no such {self.called}", allowed="other classes or labels")
        for pool in pools:
            there = len(pool.allowed)
            if there < 3:
                within = f" of class {classes[pool.allowed[0]]}" if config.classes == "same" else ""
                reason = f"{asked} needs 3 such {self.called}{within}, there are {there}"
                raise UserError("", reason=reason, allowed="other classes or labels")
        different = len(np.unique(classes[pools[0].allowed]))
        if config.classes == "different" and different < 3:
            reason = f"needs images of 3 classes, these have {different}"
            raise UserError("classes", config.classes, reason=reason, allowed="any, same")
        return pools

    def _pool(self, part: NDArray[np.bool_], config: PlaneSetConfig) -> _Pool | None:
        """Those of some images whose labels are as asked for; None if there are none."""
        if config.labels == "any":
            return _Pool(np.flatnonzero(part))
        if self.given is None:
            reason = "needs the labels that models are trained on; none are given"
            raise UserError("labels", config.labels, reason=reason)
        correct = (self.given == self.labels).numpy()
        right, wrong = np.flatnonzero(part & correct), np.flatnonzero(part & ~correct)
        if config.labels == "mixed":
            return _Pool(np.flatnonzero(part), (right, wrong)) if len(right) and len(wrong) else None
        wanted = right if config.labels == "correct" else wrong
        return _Pool(wanted) if len(wanted) else None

    def _drawn(self, config: PlaneSetConfig, pool: _Pool, generator: np.random.Generator) -> Places:
        """A triplet of the pool that spans a plane."""
        for _ in range(MAX_DRAWS):
            triplet = pool.triplet(generator)
            if config.classes == "different" and len(self.labels[triplet].unique()) < 3:
                continue
            if spans_plane(self.images(triplet)):
                return triplet
        reason = f"in {MAX_DRAWS} draws no three {self.called} span a plane as asked for; most are equal or on one line"
        raise UserError("", reason=reason, allowed="images that differ")


def draw_triplets(dataset: Dataset, config: PlaneSetConfig, given: Tensor | None = None) -> Tensor:
    """Places int64 `[planes, 3]`, in the split, of the triplets that `config` asks for.

    `given` are the training labels int64 `[n]` that models see; needed unless `config.labels` is "any". UserError if
    there are no such triplets.
    """
    images, labels = dataset.split(config.images)
    of_split = Candidates(lambda places: dataset.normalised(images[places]), labels, f"{config.images} images", given)
    return of_split.triplets(config)
