"""Many real trainings of one width, from a run directory, and what the analysis makes of some of them.

A sample draws trainings, and planes and images with replacement: all of them are samples. The truth is what all
trainings on all planes and images give.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

from dbviz_ray.analysis.scores import trained as run
from dbviz_ray.analysis.scores.group_scores import Observed, image_estimates, independent_pairs, plane_estimates
from dbviz_ray.analysis.scores.groups import Group
from dbviz_ray.analysis.scores.plane_scores import Stored, score_planes
from dbviz_ray.analysis.statistics.estimates import Estimate
from dbviz_ray.store import Store
from dbviz_ray.store.layout import MODEL

Places = NDArray[np.intp]
PLANES = 200
"""Planes of a sample, as in double_descent_digits; it has as many images as the run."""


class Items(NamedTuple):
    """Places of planes and images."""

    planes: Places
    tested: Places
    trained: Places
    measured: Places
    """Of the training images with margins."""


class Population:
    """All trainings of one width, on the plane set `test`."""

    def __init__(self, folder: Path, width: int) -> None:
        store = Store(folder)
        sweep = store.sweep()
        configs = [model.config for model in run.trained_models(store, sweep) if model.config.width == width]
        epochs = [config.training.epochs for config in configs]
        facts = [store.read_json(store.model_file(config.model_id, MODEL)) for config in configs]
        stored = run.stored_planes(store, sweep, "test", configs, epochs)
        self.seeds = [config.seeds for config in configs]
        self.sharpness = np.array([of["sharpness"] for of in facts], float)
        self.predictions = run.read_predictions(store, configs, epochs)
        self.margins = run.read_margins(store, sweep, configs, epochs, self.predictions)
        self.maps = stored.labels(slice(0, stored.planes))
        """`[trainings, planes, points, points]`."""
        self.probabilities = stored.probabilities(slice(0, stored.planes)) if stored.probabilities else None
        self.classes = stored.classes

    def items(self, generator: np.random.Generator | None = None) -> Items:
        """All planes and images, or a sample of them, with replacement."""
        of, measured = self.predictions, 0 if self.margins is None else self.margins.found.shape[1]
        known = self.maps.shape[1], of.on_test.shape[1], of.on_train.shape[1], measured
        if generator is None:
            return Items(*map(np.arange, known))
        drawn = (generator.integers(0, images, images) for images in known[1:])
        return Items(generator.integers(0, known[0], PLANES), *drawn)

    def estimates(self, sides: Sequence[Places], items: Items) -> list[dict[str, Estimate]]:
        """Every score of each of some sets of trainings, on these items, as the analysis computes it."""
        members, of, margins = np.concatenate(sides), self.predictions, self.margins
        trained, tested, planes = (np.ix_(members, some) for some in (items.trained, items.tested, items.planes))
        on_train = (values[trained] for values in (of.on_train, of.given, of.true, of.trained_on))
        predictions = run.Predictions(*on_train, of.on_test[tested], of.true_test[items.tested])
        if margins is not None:
            some = np.ix_(members, items.measured)
            margins = run.Margins(margins.distances[some], margins.found[some], margins.mislabelled[some])
        maps = self.maps[planes]
        soft = None if self.probabilities is None else self.probabilities[planes]
        stored = Stored(
            *maps.shape[:3],
            self.classes,
            lambda some: maps[:, some],
            None if soft is None else lambda some: soft[:, some],
        )
        ends = np.cumsum([0, *map(len, sides)])
        groups = [
            Group({}, np.arange(first, last), tuple(self.seeds[member] for member in side))
            for side, first, last in zip(sides, ends, ends[1:], strict=False)
        ]
        wanted = frozenset({"reproducibility", "fragmentation"})
        scored = score_planes(stored, wanted, [independent_pairs(group) for group in groups], 0.01)
        observed = Observed(predictions, self.sharpness[members], margins)
        return [image_estimates(group, observed, self.classes) | plane_estimates(group, scored) for group in groups]
