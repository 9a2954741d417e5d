"""What a configuration draws from a data set: the images that it keeps and holds out, and its false labels.

The sizes of registered data sets are known without loading them.
"""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.registry import DATASETS
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.dataset import FEWEST_IMAGES, Dataset
from dbviz_ray.errors import UserError

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")
HELD_OUT_DRAW = 2
"""Counter in the stream "split"; 0 and 1 draw the kept training and test images."""
DIGITS_IMAGES, DIGITS_TRAIN_SIZE = 1797, 1000
IMAGE_FOLDER = "a folder that holds train/CLASS/* and test/CLASS/*"


class DatasetFacts(NamedTuple):
    """Sizes of a data set."""

    image_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int


PUBLISHED = {
    "cifar10": DatasetFacts((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": DatasetFacts((3, 32, 32), 100, 50_000, 10_000),
    "svhn": DatasetFacts((3, 32, 32), 10, 73_257, 26_032),
    "fashion_mnist": DatasetFacts((1, 28, 28), 10, 60_000, 10_000),
}


def check_fields(config: DatasetConfig) -> None:
    """UserError if a field is set that the data set ignores, or if it needs a field that is unset."""
    if config.held_out is not None and config.test_size is not None:
        reason = f"is not allowed with held_out={config.held_out}: the held-out images replace the test images"
        raise UserError("dataset.test_size", config.test_size, reason=reason, allowed="unset")
    if config.name == "image_folder":
        if config.folder is None:
            raise UserError("dataset.folder", reason="unset is not allowed with image_folder", allowed=IMAGE_FOLDER)
    elif config.name in DATASETS:
        for name in ("folder", "image_size"):
            value = getattr(config, name)
            if value is not None:
                reason = f"is not allowed with {config.name}"
                raise UserError(f"dataset.{name}", value, reason=reason, allowed="unset")


def sizes_of(config: DatasetConfig) -> DatasetFacts | None:
    """The sizes of `load_dataset(config)`; None if it has to be loaded first.

    Raises UserError for settings that `load_dataset` refuses.
    """
    check_fields(config)
    if config.name == "digits":
        facts = DatasetFacts((1, 8, 8), 10, *digits_sizes(config))
    elif config.name in PUBLISHED:
        shape, classes, train, test = PUBLISHED[config.name]
        facts = DatasetFacts(shape, classes, _kept_size(config, "train", train), _kept_size(config, "test", test))
    else:
        return None
    if config.held_out is None:
        return facts
    rest = _rest_size(config, config.held_out, facts.train_images)
    return facts._replace(train_images=rest, test_images=config.held_out)


def digits_sizes(config: DatasetConfig) -> tuple[int, int]:
    """Training and test images of digits. UserError if it has too few images."""
    train_size = config.train_size or DIGITS_TRAIN_SIZE
    test_size = config.test_size or max(DIGITS_IMAGES - train_size, FEWEST_IMAGES)
    if train_size + test_size > DIGITS_IMAGES:
        reason = f"with {test_size} test images is not allowed: digits has {DIGITS_IMAGES} images"
        raise UserError("dataset.train_size", train_size, reason=reason)
    return train_size, test_size


def _kept_size(config: DatasetConfig, split: Split, available: int) -> int:
    size = config.train_size if split == "train" else config.test_size
    if size is not None and size > available:
        reason = f"is not allowed: {config.name} has {available} {split} images"
        raise UserError(f"dataset.{split}_size", size, reason=reason, allowed=f"at most {available}")
    return size or available


def _rest_size(config: DatasetConfig, held_out: int, train: int) -> int:
    """How many of `train` images are left to train on. UserError if too few."""
    most = train - FEWEST_IMAGES
    if held_out > most:
        reason = f"is not allowed: {config.name} has {train} training images"
        raise UserError("dataset.held_out", held_out, reason=reason, allowed=f"at most {most}")
    return train - held_out


def kept_indices(config: DatasetConfig, split: Split, available: int) -> Tensor:
    """Ascending indices of the images of a split that `train_size` or `test_size` keeps. UserError if it is larger."""
    chosen = numpy_generator("split", config.split_seed, SPLITS.index(split)).permutation(available)
    return torch.from_numpy(chosen[: _kept_size(config, split, available)]).sort().values


def kept(config: DatasetConfig, dataset: Dataset) -> Dataset:
    """`dataset` with the images that `train_size` and `test_size` keep, drawn by `split_seed`."""

    def kept_split(split: Split) -> tuple[Tensor, Tensor]:
        images, labels = dataset.split(split)
        indices = kept_indices(config, split, len(labels))
        return (images, labels) if len(indices) == len(labels) else (images[indices], labels[indices])

    return _with_splits(dataset, kept_split("train"), kept_split("test"))


def with_held_out(config: DatasetConfig, dataset: Dataset) -> Dataset:
    """`dataset` with `config.held_out` of its training images in place of its test images.

    `split_seed` draws them from the training images that `train_size` keeps, which leaves `train_size - held_out` to
    train on. No test image that the same `train_size` leaves is ever among them.
    """
    if config.held_out is None:
        return dataset
    images, labels = dataset.split("train")
    _rest_size(config, config.held_out, len(labels))
    shuffled = torch.from_numpy(numpy_generator("split", config.split_seed, HELD_OUT_DRAW).permutation(len(labels)))
    held_out, rest = (part.sort().values for part in shuffled.tensor_split([config.held_out]))
    return _with_splits(dataset, (images[rest], labels[rest]), (images[held_out], labels[held_out]))


def _with_splits(dataset: Dataset, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Dataset:
    return replace(dataset, train_images=train[0], train_labels=train[1], test_images=test[0], test_labels=test[1])


def given_labels(dataset: Dataset, noise_kind: Literal["symmetric", "asymmetric"], share: float, seed: int) -> Tensor:
    """The labels int64 `[n]` that a model is trained on, `share` of each class replaced by a different class.

    Symmetric noise draws it uniformly. Asymmetric noise follows the data set's `confusions`, where a class that is its
    own confusion keeps its labels; without them, each class becomes the next one. As in the paper, `round(share * size
    of the class)` labels of each class are replaced. The "label_noise" stream draws them: with one seed, the false
    labels of a smaller share are among those of a larger one.
    """
    classes, labels = len(dataset.class_names), dataset.train_labels.numpy()
    generator, noisy = numpy_generator("label_noise", seed), labels.copy()
    confusions = dataset.confusions or [(label + 1) % classes for label in range(classes)]
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        order = generator.permutation(members)
        false = np.full(len(members), confusions[label])
        if noise_kind == "symmetric":  # drawn for all, so that the share changes neither them nor the next class
            false = (label + generator.integers(1, classes, size=len(members))) % classes
        replaced = round(share * len(members))
        noisy[order[:replaced]] = false[:replaced]
    return torch.from_numpy(noisy)
