"""Training labels falsified on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.dataset import Dataset


def given_labels(dataset: Dataset, noise_kind: Literal["symmetric", "asymmetric"], share: float, seed: int) -> Tensor:
    """The labels int64 `[n]` that a model is trained on: the data set's, `share` of each class falsified.

    Asymmetric noise follows the data set's `confusions`; without them a class is taken for the next one, the last
    for the first.
    """
    classes = len(dataset.class_names)
    if noise_kind == "symmetric":
        return noisy_labels(dataset.train_labels, classes, share, seed)
    next_classes = tuple((label + 1) % classes for label in range(classes))
    return noisy_labels(dataset.train_labels, classes, share, seed, dataset.confusions or next_classes)


def noisy_labels(
    labels: Tensor, classes: int, share: float, seed: int, confusions: Sequence[int] | None = None
) -> Tensor:
    """`labels` with `share` of each class replaced by a different class drawn uniformly.

    With `confusions` the replaced labels of class c all become `confusions[c]` (asymmetric noise); a class that is
    its own confusion keeps its labels. The count of each class's replaced labels is `round(share * size of the
    class)`, as in the paper; the draw is the "label_noise" stream's. `labels` is int64 `[n]` and is not changed.
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
