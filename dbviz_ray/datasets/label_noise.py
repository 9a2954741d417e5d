"""Label noise: training labels falsified on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.dataset import Dataset


def given_labels(dataset: Dataset, noise_kind: Literal["symmetric", "asymmetric"], share: float, seed: int) -> Tensor:
    """The labels int64 `[n]` that a model is trained on: `share` of each class is falsified.

    Asymmetric noise follows the data set's `confusions`; without them, each class becomes the next one and the last
    becomes the first.
    """
    classes = len(dataset.class_names)
    if noise_kind == "symmetric":
        return noisy_labels(dataset.train_labels, classes, share, seed)
    next_classes = tuple((label + 1) % classes for label in range(classes))
    return noisy_labels(dataset.train_labels, classes, share, seed, dataset.confusions or next_classes)


def noisy_labels(
    labels: Tensor, classes: int, share: float, seed: int, confusions: Sequence[int] | None = None
) -> Tensor:
    """A copy of `labels`, int64 `[n]`, with `share` of each class replaced by a different class, drawn uniformly.

    With `confusions` (asymmetric noise), the replaced labels of class c become `confusions[c]`; a class that is its own
    confusion keeps its labels. As in the paper, `round(share * size of the class)` labels of each class are replaced.
    The "label_noise" stream draws them.
    """
    generator = numpy_generator("label_noise", seed)
    noisy = labels.numpy().copy()
    for label in range(classes):
        members = np.flatnonzero(labels.numpy() == label)
        chosen = generator.permutation(members)[: round(share * len(members))]
        if confusions is None:
            noisy[chosen] = (label + generator.integers(1, classes, size=len(chosen))) % classes
        else:
            noisy[chosen] = confusions[label]
    return torch.from_numpy(noisy)
